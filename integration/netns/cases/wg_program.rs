//! The program as `wg-quick` calls it: its start, the background, its ends.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;
use tunctl::device::{Device, DeviceSpec, Kind, Switch};
use tunctl::lab::Host;
use tunctl::wg::Socket;

use crate::harness::{Case, each};
use crate::need::Need;
use crate::place::{run, try_run};
use crate::wait::until_true;
use crate::wg_fake::BROKEN;

pub fn cases() -> Vec<Case> {
    let cases = [vec![
        Case::new("wg_program_is_ready_when_its_caller_goes_on", background),
        Case::new("wg_program_ends_with_its_socket_its_interface_and_a_signal", ends),
        Case::new("wg_program_ends_by_a_fault_when_nobody_moves_packets", broken),
        Case::new("wg_program_tells_the_faults_of_its_start", faults),
        Case::new("wg_program_takes_what_it_is_handed", handed_over).alone(),
        Case::new("wg_quick_brings_the_interface_up_and_down", wg_quick).needs(&[
            Need::Program("bash"),
            Need::Program("wg"),
            Need::Program("wg-quick"),
        ]),
    ]];
    each(cases, |case| case.needs(&[Need::Tun, Need::Program("ip")]))
}

fn background() {
    let host = Host::new("background").unwrap();
    let scene = Scene::new("wgp-back");
    let (_leaked, leaked) = std::io::pipe().unwrap();
    // What the caller happens to have open: a lock file, say.
    fcntl(&leaked, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let inode = |fd| fs::read_link(fd).unwrap();
    let leaked = inode(format!("/proc/self/fd/{}", leaked.as_raw_fd()));

    let output = output(&host, &mut scene.program());

    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    assert!(run(&host, "ip", "link show").contains("wgp-back"));
    let pid = scene.pid();
    for fd in 0..3 {
        assert_eq!(inode(format!("/proc/{pid}/fd/{fd}")), Path::new("/dev/null"));
    }
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    assert!(!open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).any(|fd| fd == leaked));
    assert_eq!(nix::unistd::getsid(Some(pid)), Ok(pid));
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "tunctl-wg\n");
    run(&host, "ip", "link del wgp-back");
    scene.until_gone(&host);
}

fn ends() {
    let host = Host::new("ends").unwrap();
    let endings: [fn(&Host, &Scene); 4] = [
        |_, scene| fs::remove_file(&scene.socket).unwrap(),
        |host, scene| drop(run(host, "ip", &format!("link del {}", scene.name))),
        |_, scene| kill(scene.pid(), Signal::SIGTERM).unwrap(),
        |_, scene| kill(scene.pid(), Signal::SIGINT).unwrap(),
    ];
    for end in endings {
        let scene = Scene::new("wgp-ends");
        let mut child = host.spawn(scene.program().arg("--foreground")).unwrap();
        until_true("the socket answers", || UnixStream::connect(&scene.socket).is_ok());
        end(&host, &scene);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        scene.until_gone(&host);
    }
}

fn broken() {
    let host = Host::new("broken").unwrap();
    let scene = Scene::new(BROKEN);
    let output = output(&host, scene.program().arg("--foreground"));
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "tunctl: the workers ended by themselves\n";
    assert_eq!((output.status.code(), said.as_str()), (Some(1), expected));
    scene.until_gone(&host);
}

fn faults() {
    let host = Host::new("faults").unwrap();
    let scene = Scene::new("wgp-fault");
    let ended = |command: &mut Command| {
        let output = output(&host, command);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(ended(&mut scene.program()).0, Some(0));
    let busy = "tunctl: interface wgp-fault: busy, another process has it open\n";
    for level in ["", "error", "silent"] {
        let (code, said) = ended(scene.program().env("LOG_LEVEL", level));
        assert_eq!((code, said.as_str()), (Some(1), busy), "in the background, {level}");
    }
    let (code, said) = ended(scene.program().env("WG_PROCESS_FOREGROUND", "1"));
    assert_eq!((code, said.as_str()), (Some(1), busy));

    let other = Scene::new("wgp-other");
    let _listener = UnixListener::bind(&other.socket).unwrap();
    let (code, said) = ended(&mut other.program());
    let live = format!("tunctl: another daemon answers on {}\n", other.socket.display());
    assert_eq!((code, said), (Some(1), live));
    assert!(!run(&host, "ip", "link show").contains("wgp-other"));
    let (code, said) = ended(other.program().env("WG_TUN_FD", "1000"));
    let expected = "tunctl: cannot take WG_TUN_FD: Bad file descriptor (os error 9)\n";
    assert_eq!((code, said.as_str()), (Some(1), expected));
    for words in [&["a/b"][..], &["sixteen-letters-"], &["a b"], &[], &["-x", "wg0"]] {
        let mut command = Command::new("/proc/self/exe");
        let (code, said) = ended(command.arg0("tunctl-wg").args(words));
        assert_eq!(code, Some(2), "{words:?}: {said}");
    }
}

fn handed_over() {
    let host = Host::new("handed").unwrap();
    let scene = Scene::new("wgp-hand");
    let spec = DeviceSpec {
        name: scene.name.into(),
        kind: Kind::Tun,
        gso: Switch::Auto,
        is_multi_queue: false,
    };
    let device = host.run(|| Device::open(&spec)).unwrap();
    let listener = UnixListener::bind(&scene.socket).unwrap();
    for fd in [device.as_fd(), listener.as_fd()] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    }
    let mut command = Command::new("/proc/self/exe");
    // The device's own name counts.
    command.arg0("tunctl-wg").arg("another");
    command.env("WG_TUN_FD", device.as_fd().as_raw_fd().to_string());
    command.env("WG_UAPI_FD", listener.as_raw_fd().to_string());

    let output = output(&host, &mut command);

    assert!(output.status.success(), "{output:?}");
    drop((device, listener));
    let mut stream = UnixStream::connect(&scene.socket).unwrap();
    stream.write_all(b"get=1\n\n").unwrap();
    let mut answer = [0; 9];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    assert_eq!(&answer, b"errno=0\n\n");
    fs::remove_file(&scene.socket).unwrap();
    scene.until_gone(&host);
}

/// A configuration of `wg-quick`.
const CONFIGURATION: &str = "\
[Interface]
PrivateKey = YAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=
ListenPort = 51820
Address = 10.99.0.1/24, fd99::1/64
MTU = 1400
[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
Endpoint = 192.0.2.1:51820
AllowedIPs = 10.98.0.0/16
PersistentKeepalive = 25
";

/// Stands before `ip`: a kernel with WireGuard of its own would not leave it to the program.
const IP_WITHOUT_WIREGUARD: &str = "\
#!/bin/bash
[[ \"$*\" == *'type wireguard'* ]] && { echo 'no WireGuard here' >&2; exit 2; }
PATH=${PATH#*:}
exec ip \"$@\"
";

fn wg_quick() {
    let host = Host::new("quick").unwrap();
    let scene = Scene::new("wgp-quick");
    // wg-quick looks for programs in its own directory first.
    let directory = scene.directory.path();
    let script = directory.join("wg-quick");
    fs::copy(find("wg-quick"), &script).unwrap();
    let shim = directory.join("ip");
    fs::write(&shim, IP_WITHOUT_WIREGUARD).unwrap();
    fs::set_permissions(&shim, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let configuration = directory.join("wgp-quick.conf");
    fs::write(&configuration, CONFIGURATION).unwrap();
    let wg_quick = |verb: &str| {
        let mut command = Command::new("bash");
        command.arg(&script).arg(verb).arg(&configuration);
        command.env("WG_QUICK_USERSPACE_IMPLEMENTATION", &scene.program);
        let output = output(&host, &mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };

    wg_quick("up");
    let addresses = run(&host, "ip", "-br addr show dev wgp-quick");
    assert!(addresses.contains("10.99.0.1/24") && addresses.contains("fd99::1/64"), "{addresses}");
    assert!(run(&host, "ip", "route").contains("10.98.0.0/16 dev wgp-quick"));
    let shown = run(&host, "wg", "show wgp-quick dump");
    let peer = "\t(none)\t192.0.2.1:51820\t10.98.0.0/16\t0\t0\t0\t25";
    assert!(shown.contains("\t51820\toff\n") && shown.contains(peer), "{shown}");
    wg_quick("down");
    scene.until_gone(&host);
}

/// An interface of a unique name, and the program for it; whatever happens the program ends with
/// this value.
struct Scene {
    name: &'static str,
    socket: PathBuf,
    program: PathBuf,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new(name: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("tunctl-wg");
        let ourselves = std::env::current_exe().unwrap();
        std::os::unix::fs::symlink(ourselves, &program).unwrap();
        let socket = Socket::path_of(&name.parse().unwrap());
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        Self { name, socket, program, directory }
    }

    fn program(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(self.name);
        for variable in ["LOG_LEVEL", "WG_PROCESS_FOREGROUND", "WG_TUN_FD", "WG_UAPI_FD"] {
            command.env_remove(variable);
        }
        command
    }

    /// Gives the process that listens.
    fn pid(&self) -> Pid {
        let stream = UnixStream::connect(&self.socket).unwrap();
        Pid::from_raw(getsockopt(&stream, sockopt::PeerCredentials).unwrap().pid())
    }

    fn until_gone(&self, host: &Host) {
        until_true("the socket is gone", || !self.socket.exists());
        until_true("the interface is gone", || {
            !try_run(host, "ip", &format!("link show dev {}", self.name)).status.success()
        });
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

fn output(host: &Host, command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    host.spawn(command).unwrap().wait_with_output().unwrap()
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(program));
    found.into_iter().find(|path| path.exists()).unwrap()
}
