//! The command line: what is asked for, and the exit codes it ends with.
//!
//! Flags are settings like those of a file and take the same way through [`crate::config`]; the few
//! that everyone sets are here. What runs is started by `main.rs`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Termination};
use std::{env, fs};

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Flag, SettingsFile, Sources};

pub use healthcheck::Healthcheck;

pub mod healthcheck;
pub mod summary;

/// The variable that names the settings file, as `--config` does.
pub const CONFIG_VARIABLE: &str = "JMAP_PUSH_PROXY_CONFIG";

const AFTER_HELP: &str = "\
Settings come from flags, then the environment (JMAP_PUSH_PROXY__SECTION__KEY), then the file of
--config or JMAP_PUSH_PROXY_CONFIG, then built-in defaults: proxy.toml describes each.

Exit codes: 0 done, 1 not healthy, 64 wrong usage, 70 failure, 78 mistakes in the settings.";

const UPSTREAM_HELP: &str =
    "URL of the JMAP server; several times for a cluster [default: http://127.0.0.1:8080]";

const PUBLIC_URL_HELP: &str = "Origin that clients see, such as https://mail.example.org";

/// How the process ends (sysexits.h, and what container runtimes take for unhealthy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what it should.
    Done,
    /// 1: `healthcheck` found the proxy not healthy.
    Unhealthy,
    /// 64: the command line cannot be understood.
    Usage,
    /// 70: it could not start or go on, for a reason that is logged.
    Failure,
    /// 78: there are mistakes in the settings.
    Config,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unhealthy => 1,
            Self::Usage => 64,
            Self::Failure => 70,
            Self::Config => 78,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

#[derive(Parser)]
#[command(
    name = "jmap-push-proxy",
    version,
    about = "Adds push to a JMAP server that lacks it, from in front of it",
    after_help = AFTER_HELP,
    args_conflicts_with_subcommands = true
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Run the proxy (what happens without a command, too).
    Run(Settings),
    /// Check the settings without starting; print every mistake.
    Check(Check),
    /// Ask a running proxy how it is, for images without curl.
    Healthcheck(Healthcheck),
    /// Show it all on this machine: a small JMAP server without push, the proxy before it, a page.
    Demo(Demo),
}

/// Settings by flag.
#[derive(Args, Default)]
pub struct Settings {
    /// Address for clients; may be given several times [default: 0.0.0.0:8888]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    #[arg(long, value_name = "URL", help = UPSTREAM_HELP)]
    #[expect(missing_docs, reason = "said by its help")]
    pub upstream: Vec<String>,
    #[arg(long, value_name = "ORIGIN", help = PUBLIC_URL_HELP)]
    #[expect(missing_docs, reason = "said by its help")]
    pub public_url: Option<String>,
    /// URL of Redis, or "off"; a password is better kept out of flags
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Address of metrics and control, or "off" [default: 127.0.0.1:8889]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Address of /livez, /readyz and /startupz, or "off" [default: 0.0.0.0:8890]
    #[arg(long, value_name = "ADDRESS")]
    pub probes: Option<String>,
    /// File with more settings, in the form of proxy.toml; none is read unasked
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// error, warn, info, debug or trace, or a filter [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
}

/// `check`.
#[derive(Args)]
pub struct Check {
    /// The file to check, as with --config.
    #[arg(conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// `demo`.
#[derive(Args)]
pub struct Demo {
    /// Address of the proxy; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8888")]
    pub listen: std::net::SocketAddr,
}

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// The environment of the process. What is not UTF-8 keeps a mark that [`Config::load`] refuses.
#[must_use]
pub fn environment() -> Environment {
    let text = |word: OsString| word.to_string_lossy().into_owned();
    env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Understands the command line.
///
/// # Errors
///
/// How to end instead: `--help` and `--version` are answered, mistakes told.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Exit> {
    match CommandLine::try_parse_from(arguments) {
        Ok(line) => Ok(line.command.unwrap_or(Command::Run(line.settings))),
        Err(error) => {
            // Nobody reads it if this fails.
            let _ = error.print();
            Err(if error.use_stderr() { Exit::Usage } else { Exit::Done })
        }
    }
}

/// Whether standard error is a terminal that may be sent colours (no-color.org).
#[must_use]
pub fn has_colours(environment: &Environment) -> bool {
    let refused = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

impl Settings {
    /// The configuration that follows from flags, environment, file and defaults.
    ///
    /// # Errors
    ///
    /// [`Exit::Config`], after every mistake is told on standard error.
    pub fn load(&self, environment: Environment) -> Result<Config, Exit> {
        let colours = has_colours(&environment);
        let variable = environment.get(CONFIG_VARIABLE).filter(|path| !path.is_empty());
        let path = self.config.clone().or_else(|| variable.map(PathBuf::from));
        let file = path.as_deref().map(read).transpose().map_err(|(path, error)| {
            tell(&format!("error: cannot read the settings in {}: {error}", path.display()));
            Exit::Config
        })?;
        Config::load(&Sources { file, environment, flags: self.flags() }).map_err(|mistakes| {
            tell(&mistakes.report(colours));
            Exit::Config
        })
    }

    fn flags(&self) -> Vec<Flag> {
        let several = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
        let flags = [
            ("--listen", "downstream.listen", several(&self.listen)),
            ("--upstream", "upstream.url", several(&self.upstream)),
            ("--public-url", "downstream.public_url", self.public_url.clone()),
            ("--redis", "redis.url", self.redis.clone()),
            ("--admin", "admin.listen", self.admin.clone()),
            ("--probes", "admin.probes", self.probes.clone()),
            ("--log", "log.level", self.log.clone()),
        ];
        let given = |(name, key, value): (_, _, Option<_>)| Some(Flag { name, key, value: value? });
        flags.into_iter().filter_map(given).collect()
    }
}

impl Check {
    /// Checks what [`Command::Run`] would run with, by the same code.
    #[must_use]
    pub fn run(mut self, environment: Environment) -> Exit {
        self.settings.config = self.settings.config.or(self.file);
        match self.settings.load(environment) {
            Ok(_) => {
                let _ = writeln!(io::stdout(), "the settings are right");
                Exit::Done
            }
            Err(exit) => exit,
        }
    }
}

fn read(path: &Path) -> Result<SettingsFile, (&Path, io::Error)> {
    let text = fs::read_to_string(path).map_err(|error| (path, error))?;
    Ok(SettingsFile { path: path.display().to_string(), text })
}

/// A line for the person at the terminal, before there is a log. Lost when nobody listens.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
