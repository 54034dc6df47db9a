//! The time from starting a program to its first answer, and what it holds when nothing happens.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::http::{Target, exchange};
use crate::process::Server;
use crate::tell;

/// How long the program may settle before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(3);

/// The longest wait for the first answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// See [`crate::Load::Start`].
#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    /// What it must answer.
    #[arg(long)]
    url: Target,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Start {
    #[expect(clippy::cast_precision_loss, reason = "no process holds 2^53 bytes")]
    pub(crate) async fn run(self) -> io::Result<()> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let child = Killed(command.spawn()?);
        while !self.answers().await {
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other("it does not answer"));
            }
            sleep(Duration::from_micros(500)).await;
        }
        tell("serving_after_ms", began.elapsed().as_secs_f64() * 1000.0);
        sleep(SETTLE).await;
        let memory = Server::of(child.0.id()).memory()?;
        tell("idle_private_bytes", memory.private as f64);
        tell("idle_resident_bytes", memory.resident as f64);
        Ok(())
    }

    async fn answers(&self) -> bool {
        let Ok(mut stream) = self.url.connect(0, None).await else { return false };
        let request = self.url.request("GET", &[], "");
        exchange(&mut stream, request.as_bytes(), &mut Vec::new()).await.is_ok()
    }
}

/// A process that ends with this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
