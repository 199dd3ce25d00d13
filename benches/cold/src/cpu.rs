//! The CPU of a small Lambda function, by a quota of a control group.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory in MB that comes with one whole CPU.
const MB_OF_A_CPU: u64 = 1_769;
/// The period in microseconds in which a quota is handed out. A short one, as Lambda's, so that a function that
/// has used it up does not stand still for long.
const PERIOD: u64 = 20_000;

/// How many groups there were.
static GROUPS: AtomicU64 = AtomicU64::new(0);

/// A control group whose CPU is limited.
pub struct Quota {
    group: PathBuf,
}

impl Quota {
    /// A control group with the CPU of this much memory.
    ///
    /// Fails where this user or machine cannot have one; the message is for the reader of the table.
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
            "no CPU quota can be set here ({}); run it as root, with control groups",
            whys.join("; ")
        ))
    }

    /// From now on this process has no more than the quota.
    pub fn limit(&self, process: u32) -> Result<(), String> {
        let file = self.group.join("cgroup.procs");
        fs::write(&file, process.to_string()).map_err(|why| format!("{}: {why}", file.display()))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Empty by now; an empty group that stays behind does no harm.
        fs::remove_dir(&self.group).ok();
    }
}
