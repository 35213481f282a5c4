//! What the figures belong to: the machine, its kernel, and the build of this program.

use std::fs;
use std::thread;

use super::report::{Build, Machine};

/// Gives the build of this program.
pub fn build() -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("TUNCTL_COMMIT").map(str::to_owned),
        optimized: !cfg!(debug_assertions),
    }
}

/// Gives the machine, and how busy it is now.
pub fn machine() -> Machine {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    Machine {
        cpu: processor(&text("/proc/cpuinfo")),
        cores: thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        kernel: Some(text("/proc/sys/kernel/osrelease").trim().to_owned())
            .filter(|release| !release.is_empty()),
        load_average: load_average(&text("/proc/loadavg")),
    }
}

/// Takes the name of the first processor from `/proc/cpuinfo`; Arm kernels do not tell it.
fn processor(text: &str) -> Option<String> {
    let value = |line: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    };
    text.lines().find_map(value).filter(|name| !name.is_empty())
}

fn load_average(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split_whitespace().map(|word| word.parse().ok());
    Some([words.next()??, words.next()??, words.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_is_the_first_model_name() {
        let text = "processor\t: 0\nvendor_id\t: X\nmodel name\t: AMD EPYC 9R45\n\
                    processor\t: 1\nmodel name\t: other\n";
        assert_eq!(processor(text), Some("AMD EPYC 9R45".into()));
        assert_eq!(processor("processor\t: 0\nBogoMIPS\t: 50.00\n"), None);
        assert_eq!(processor("model name\t:\n"), None);
    }

    #[test]
    fn load_average_is_the_first_three_numbers() {
        assert_eq!(load_average("0.10 1.20 3.00 2/345 6789\n"), Some([0.1, 1.2, 3.0]));
        assert_eq!(load_average("0.10 x 3.00\n"), None);
        assert_eq!(load_average(""), None);
    }

    #[test]
    fn this_machine_has_a_kernel_and_cores() {
        let machine = machine();
        assert!(machine.cores > 0);
        assert!(machine.kernel.is_some());
        assert!(machine.load_average.is_some());
        assert_eq!(build().version, env!("CARGO_PKG_VERSION"));
    }
}
