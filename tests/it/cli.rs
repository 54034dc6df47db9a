//! The command as a process: exit codes and what is told where.

use std::process::{Command, Output};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jmap-push-proxy"));
    command.args(arguments).env_clear();
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn check_of_the_shipped_file_is_0() {
    let output = run(&["check", "proxy.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "the settings are right\n");
}

#[test]
fn check_tells_all_mistakes_and_is_78() {
    let output = run(&["check", "tests/config/invalid/unknown_keys.toml", "--listen", "8888"]);
    assert_eq!(output.status.code(), Some(78));
    let report = text(&output.stderr);
    assert!(report.contains("--> tests/config/invalid/unknown_keys.toml:5:1"), "{report}");
    assert!(report.contains("--listen=8888"), "{report}");
    assert!(report.ends_with("5 mistakes\n"), "{report}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn run_with_a_mistake_is_78_before_it_listens() {
    let output = run(&["--upstream", "127.0.0.1:8080"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("--upstream=127.0.0.1:8080"));
}

#[test]
fn a_settings_file_that_is_not_there_is_78() {
    let output = run(&["check", "--config", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).starts_with("error: cannot read the settings in nowhere.toml: "));
}

#[test]
fn the_variable_names_the_settings_file_and_the_flag_beats_it() {
    let invalid = "tests/config/invalid/sizes.toml";
    let mut by_variable = command(&["check"]);
    by_variable.env("JMAP_PUSH_PROXY_CONFIG", invalid);
    assert_eq!(by_variable.status().expect("runs").code(), Some(78));
    let mut by_flag = command(&["check", "--config", "proxy.toml"]);
    by_flag.env("JMAP_PUSH_PROXY_CONFIG", invalid);
    assert_eq!(by_flag.status().expect("runs").code(), Some(0));
}

#[test]
fn no_file_is_read_unasked() {
    let mut check = command(&["check"]);
    // A folder whose proxy.toml would be refused.
    let folder = std::env::temp_dir().join(format!("jmap-push-proxy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("proxy.toml"), "wrong").expect("a file");
    let status = check.current_dir(&folder).status().expect("runs");
    std::fs::remove_dir_all(&folder).expect("gone again");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn an_unknown_flag_is_64_and_help_is_0() {
    let output = run(&["--upsteam", "http://127.0.0.1:8080"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("--upstream"), "{}", text(&output.stderr));
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Exit codes"));
    let output = run(&["--version"]);
    assert_eq!(text(&output.stdout), concat!("jmap-push-proxy ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn defaults_named_in_help_are_those_of_proxy_toml() {
    let help = text(&run(&["run", "--help"]).stdout);
    let defaults: Vec<_> =
        help.split("[default: ").skip(1).filter_map(|rest| rest.split(']').next()).collect();
    assert_eq!(defaults.len(), 5, "{help}");
    for default in defaults {
        let assignment = format!("= \"{default}\"\n");
        assert!(jmap_push_proxy::config::DEFAULTS.contains(&assignment), "{default}");
    }
}

#[test]
fn healthcheck_of_nothing_is_1_and_of_no_address_78() {
    let socket = run(&["healthcheck", "livez", "--probes", "unix:/nowhere/probes.sock"]);
    assert_eq!(socket.status.code(), Some(1));
    assert!(text(&socket.stderr).starts_with("cannot connect to the probes: "));
    let mut off = command(&["healthcheck"]);
    off.env("JMAP_PUSH_PROXY__ADMIN__PROBES", "off");
    assert_eq!(off.status().expect("runs").code(), Some(78));
}

#[test]
fn documentation_names_every_exit_code() {
    let documentation = std::fs::read_to_string("docs/configuration.md").expect("the page");
    use jmap_push_proxy::cli::Exit;
    for exit in [Exit::Done, Exit::Unhealthy, Exit::Usage, Exit::Failure, Exit::Config] {
        let row = format!("| {} |", exit.code());
        assert!(documentation.contains(&row), "{row} is missing");
    }
}
