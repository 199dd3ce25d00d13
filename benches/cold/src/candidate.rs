//! The measured candidates: this function, and a boto3 and a Node function that do the same job.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::endpoint::Hello;
use crate::job::{API, API_NAME};
use crate::runtime_api::FUNCTION;

/// The root certificates that the function contains.
const OWN_ROOTS: &str = "src/cloud/aws/roots.pem";

/// A program that does the job.
pub struct Candidate {
    /// The command that starts it.
    pub command: Vec<PathBuf>,
    /// Its working directory, under `target/`.
    pub folder: PathBuf,
    /// The size of its zip in bytes.
    pub zip: u64,
    /// Its own environment variables.
    pub settings: Vec<(&'static str, String)>,
    /// The variable that names its file of trusted certificates, and the certificates that it trusts on Lambda, as PEM.
    trust: (&'static str, String),
}

impl Candidate {
    /// Returns a Lambda function's environment variables, with this endpoint's URLs.
    pub fn environment(&self, endpoint: &Hello) -> Vec<(&'static str, String)> {
        let url = |service: &str| format!("https://127.0.0.1:{}", endpoint.ports[service]);
        let name = FUNCTION.rsplit(':').next().unwrap_or_default();
        let mut all: Vec<(&'static str, String)> = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("LANG", "en_US.UTF-8"),
            ("TZ", ":UTC"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            ("AWS_SESSION_TOKEN", "example-session-token"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_bench"),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/apigw-rollback"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]0123456789abcdef"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into();
        all.push(("LAMBDA_TASK_ROOT", self.folder.display().to_string()));
        all.push(("HOME", self.folder.display().to_string()));
        all.push(("AWS_ENDPOINT_URL_SSM", url("ssm")));
        all.push(("AWS_ENDPOINT_URL_API_GATEWAY", url("apigateway")));
        all.push(("AWS_ENDPOINT_URL_CLOUDWATCH", url("monitoring")));
        all.push((self.trust.0, self.trust_at().display().to_string()));
        all.extend(self.settings.iter().cloned());
        all
    }

    /// Returns the file or folder of trusted certificates.
    fn trust_at(&self) -> PathBuf {
        self.folder.join(if self.trust.0 == "SSL_CERT_DIR" { "trust" } else { "trust.pem" })
    }

    /// Writes the trusted certificates: those that the candidate trusts on Lambda, and the endpoint's.
    pub fn trust(&self, endpoint: &Hello) -> io::Result<()> {
        let at = self.trust_at();
        if self.trust.0 == "SSL_CERT_DIR" {
            fs::create_dir_all(&at)?;
            return fs::write(at.join("00000000.0"), &endpoint.authority);
        }
        fs::write(at, format!("{}\n{}", self.trust.1, endpoint.authority))
    }
}

/// Prepares this function for an endpoint whose certificate is not Amazon's. It must fall back to the system's root
/// certificates.
pub fn behind_a_proxy(root: &Path, work: &Path, binary: &Path) -> Result<Candidate, String> {
    let function = function(root, work, binary)?;
    Ok(Candidate { trust: ("SSL_CERT_DIR", String::new()), ..function })
}

/// Prepares this function.
pub fn function(root: &Path, work: &Path, binary: &Path) -> Result<Candidate, String> {
    let told = |why: io::Error| format!("{}: {why}", binary.display());
    let folder = work.join("function");
    fs::create_dir_all(&folder).map_err(told)?;
    let bootstrap = folder.join("bootstrap");
    fs::copy(binary, &bootstrap).map_err(told)?;
    let stage = serde_json::json!([{"api": API, "name": API_NAME, "stage": "prod"}]);
    Ok(Candidate {
        zip: zipped(&bootstrap).map_err(told)?,
        command: vec![bootstrap],
        folder,
        settings: vec![
            ("PROTECTED_STAGES", stage.to_string()),
            ("ALARM_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:apigw-rollback-alarms".to_owned()),
        ],
        trust: ("SSL_CERT_FILE", fs::read_to_string(root.join(OWN_ROOTS)).map_err(told)?),
    })
}

/// Prepares the boto3 function, on AWS's own runtime client for Python.
pub fn boto3(root: &Path, work: &Path) -> Result<Candidate, String> {
    let tools = root.join("tests/e2e/tools.sh");
    run(Command::new(&tools).arg("peer-boto3"), "Python 3.10 or newer with the venv module, and PyPI")?;
    let python = root.join(".tools/peer-boto3/bin/python");
    let (folder, task) = fresh(root, work, "boto3", &["handler.py"])?;
    let found = Command::new(&python)
        .args(["-c", "import botocore, os; print(os.path.dirname(botocore.__file__))"])
        .output()
        .map_err(|why| format!("{}: {why}", python.display()))?;
    let botocore = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    let packages = botocore.parent().unwrap_or(&botocore);
    // The packages to vendor if the function does not use the runtime's own version.
    let vendored = ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py"];
    let sizes = vendored.iter().map(|package| zipped(&packages.join(package)));
    let libraries: u64 = sizes.sum::<io::Result<u64>>().map_err(|why| format!("boto3: {why}"))?;
    let trust = fs::read_to_string(botocore.join("cacert.pem")).map_err(|why| format!("botocore: {why}"))?;
    Ok(Candidate {
        zip: libraries + zipped(&task).map_err(|why| why.to_string())?,
        command: vec![python, "-m".into(), "awslambdaric".into(), "handler.handler".into()],
        folder,
        settings: peer_settings("handler.handler"),
        trust: ("AWS_CA_BUNDLE", trust),
    })
}

/// Prepares the Node function, bundled and minified.
pub fn node(root: &Path, work: &Path) -> Result<Candidate, String> {
    let files = ["handler.mjs", "runtime.mjs", "package.json", "package-lock.json"];
    let (folder, _) = fresh(root, work, "node", &files)?;
    let needs = "Node 20 or newer with npm (https://nodejs.org), and npm's registry";
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder), needs)?;
    run(Command::new("npm").args(["run", "bundle"]).current_dir(&folder), needs)?;
    let node =
        Command::new("node").args(["-p", "process.execPath"]).output().map_err(|why| why.to_string())?;
    let node = PathBuf::from(String::from_utf8_lossy(&node.stdout).trim());
    let bundle = folder.join("bundle.cjs");
    Ok(Candidate {
        zip: zipped(&bundle).map_err(|why| why.to_string())?,
        command: vec![node, bundle],
        folder,
        settings: peer_settings("bundle.handler"),
        // Node contains its root certificates and trusts these in addition.
        trust: ("NODE_EXTRA_CA_CERTS", String::new()),
    })
}

fn peer_settings(handler: &str) -> Vec<(&'static str, String)> {
    let ids = serde_json::json!({API_NAME: API});
    vec![("_HANDLER", handler.to_owned()), ("API_IDS", ids.to_string())]
}

/// Copies a peer's files from the repository to its folder under `target/`. Returns the folder and the first file.
fn fresh(root: &Path, work: &Path, name: &str, files: &[&str]) -> Result<(PathBuf, PathBuf), String> {
    let folder = work.join(name);
    fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    for file in files {
        let from = root.join("benches/peers").join(name).join(file);
        fs::copy(&from, folder.join(file)).map_err(|why| format!("{}: {why}", from.display()))?;
    }
    let first = folder.join(files[0]);
    Ok((folder, first))
}

fn run(command: &mut Command, needs: &str) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|why| format!("`{name}` cannot be run ({why}); it needs {needs}"))?;
    if done.status.success() {
        return Ok(());
    }
    io::stderr().write_all(&done.stderr).ok();
    Err(format!("`{name}` failed (its output is above); it needs {needs}"))
}

/// Returns the size in bytes of a zip of this file or folder: each file deflated, plus zip's two headers for it.
fn zipped(path: &Path) -> io::Result<u64> {
    if path.is_dir() {
        let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        let entries = entries.iter().filter(|entry| entry.file_name() != "__pycache__");
        return entries.map(|entry| zipped(&entry.path())).sum();
    }
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::best());
    deflated.write_all(&fs::read(path)?)?;
    let headers = 30 + 46 + 2 * path.file_name().map_or(0, std::ffi::OsStr::len);
    Ok((deflated.finish()?.len() + headers) as u64)
}
