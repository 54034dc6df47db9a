//! The command: reads the command line and the settings, sets the log up, and runs what is asked.

use std::io::{self, IsTerminal};
use std::{env, fmt};

use jmap_push_proxy::app;
use jmap_push_proxy::cli::{self, Command, Environment, Exit, Settings};
use jmap_push_proxy::telemetry::logging;

/// Memory comes back after a storm of connections; glibc's would keep it (docs/performance.md, M6).
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Exit {
    let environment = cli::environment();
    match cli::parse(env::args_os()) {
        Ok(Command::Run(settings)) => run(&settings, environment),
        Ok(Command::Check(check)) => check.run(environment),
        Ok(Command::Healthcheck(healthcheck)) => healthcheck.run(environment),
        Ok(Command::Demo(demo)) => show(&demo),
        Err(exit) => exit,
    }
}

fn run(settings: &Settings, environment: Environment) -> Exit {
    let colours = cli::has_colours(&environment);
    let config = match settings.load(environment) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let terminal = io::stderr().is_terminal();
    if let Err(error) = logging::init(&config.log, terminal, colours) {
        cli::tell(&format!("error: {error}"));
        return Exit::Failure;
    }
    let style = logging::Style::new(config.log.format, terminal, false);
    let ended = app::run(config, |summary| match style {
        logging::Style::Human { .. } => cli::tell(summary.to_string().trim_end()),
        logging::Style::Json => summary.log(),
    });
    match ended {
        Ok(()) => Exit::Done,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "stopped");
            Exit::Failure
        }
    }
}

fn show(demo: &cli::Demo) -> Exit {
    match app::demo(demo.listen) {
        Ok(()) => Exit::Done,
        Err(error) => {
            cli::tell(&format!("error: {}", Chain(&error)));
            Exit::Failure
        }
    }
}

/// An error with its causes, outermost first.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
