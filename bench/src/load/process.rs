//! What processes cost, as the kernel counts it (proc(5)): memory and processor time.

use std::io;
use std::time::Duration;

/// A server, all its processes together.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Server {
    /// Its processes.
    #[arg(long = "pid", value_delimiter = ',', required = true)]
    pids: Vec<u32>,
}

/// Bytes of memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// What would be free again without the processes: `Private_Clean` and `Private_Dirty`.
    pub(crate) private: u64,
    /// All that is present, shared parts counted for each process: `VmRSS`.
    pub(crate) resident: u64,
}

impl Server {
    pub(crate) fn of(pid: u32) -> Self {
        Self { pids: vec![pid] }
    }

    /// Memory in use now.
    pub(crate) fn memory(&self) -> io::Result<Memory> {
        let mut memory = Memory::default();
        for pid in &self.pids {
            let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            memory.private += bytes(&smaps, "Private_Clean:") + bytes(&smaps, "Private_Dirty:");
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            memory.resident += bytes(&status, "VmRSS:");
        }
        Ok(memory)
    }

    /// Processor time taken so far, in user space and in the kernel, to 10 ms.
    pub(crate) fn processor(&self) -> io::Result<Duration> {
        let mut ticks = 0;
        for pid in &self.pids {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // The second field, the name, may hold anything; it ends with the last parenthesis.
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            // utime and stime.
            let times = fields.split_ascii_whitespace().skip(11).take(2);
            ticks += times.filter_map(|time| time.parse::<u64>().ok()).sum::<u64>();
        }
        // USER_HZ is 100 on Linux.
        Ok(Duration::from_millis(ticks * 10))
    }
}

/// The figure of a line `Name:   123 kB`, in bytes.
fn bytes(table: &str, name: &str) -> u64 {
    let line = table.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_ascii_whitespace().next());
    figure.and_then(|figure| figure.parse::<u64>().ok()).unwrap_or(0) * 1024
}
