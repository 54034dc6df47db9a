//! The command: reads the command line and the settings, sets the log up, and runs what is asked.

use std::env;
use std::io::{self, IsTerminal};

use jmap_push_proxy::cli::{self, Command, Environment, Exit, Settings};
use jmap_push_proxy::telemetry::logging;

fn main() -> Exit {
    let environment = cli::environment();
    match cli::parse(env::args_os()) {
        Ok(Command::Run(settings)) => run(&settings, environment),
        Ok(Command::Check(check)) => check.run(environment),
        Ok(Command::Healthcheck(healthcheck)) => healthcheck.run(environment),
        // WIRE: the demo.
        Ok(Command::Demo(_)) => Exit::Failure,
        Err(exit) => exit,
    }
}

fn run(settings: &Settings, environment: Environment) -> Exit {
    let plain = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let config = match settings.load(environment) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let terminal = io::stderr().is_terminal();
    if let Err(error) = logging::init(&config.log, terminal, terminal && !plain) {
        cli::tell(&format!("error: {error}"));
        return Exit::Failure;
    }
    // WIRE: app::run(config), whose errors are logged with their causes and are Exit::Failure.
    Exit::Done
}
