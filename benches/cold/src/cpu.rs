//! The CPU of a small Lambda function, limited by a control group.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The memory in MB with which Lambda gives a function one whole CPU.
const MB_OF_A_CPU: u64 = 1_769;
/// The period of a quota in microseconds. It is short, like Lambda's, so that a function that has used up its quota
/// does not wait long.
const PERIOD: u64 = 20_000;

/// The number of control groups so far, which makes their names unique.
static GROUPS: AtomicU64 = AtomicU64::new(0);

/// A control group whose CPU is limited.
pub struct Quota {
    group: PathBuf,
}

impl Quota {
    /// Creates a control group with the CPU of this much memory in MB.
    ///
    /// Fails if this user or machine cannot create one. The table shows the message.
    pub fn of(memory: u64) -> Result<Self, String> {
        let quota = PERIOD * memory / MB_OF_A_CPU;
        let nth = GROUPS.fetch_add(1, Ordering::Relaxed);
        let name = format!("cold-bench-{}-{nth}", std::process::id());
        let one = |root: &str, files: &[(&str, String)]| -> Result<Self, String> {
            let group = Path::new(root).join(&name);
            fs::create_dir(&group).map_err(|why| format!("{}: {why}", group.display()))?;
            let made = Self { group };
            for (file, value) in files {
                let file = made.group.join(file);
                fs::write(&file, value).map_err(|why| format!("{}: {why}", file.display()))?;
            }
            Ok(made)
        };
        let v1 = [("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
        let v2 = [("cpu.max", format!("{quota} {PERIOD}"))];
        let tries = [
            one("/sys/fs/cgroup/cpu", &v1),
            one("/sys/fs/cgroup/cpu,cpuacct", &v1),
            one("/sys/fs/cgroup", &v2),
        ];
        let mut whys = Vec::new();
        for tried in tries {
            match tried {
                Ok(quota) => return Ok(quota),
                Err(why) => whys.push(why),
            }
        }
        Err(format!(
            "this machine allows no CPU quota ({}); run the bench as root, with control groups",
            whys.join("; ")
        ))
    }

    /// Limits this process to the quota from now on.
    pub fn limit(&self, process: u32) -> Result<(), String> {
        let file = self.group.join("cgroup.procs");
        fs::write(&file, process.to_string()).map_err(|why| format!("{}: {why}", file.display()))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // The group is empty by now. If the removal fails, an empty group does no harm.
        fs::remove_dir(&self.group).ok();
    }
}
