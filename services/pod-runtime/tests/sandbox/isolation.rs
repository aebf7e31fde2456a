//! What separates a pod from the machine and from other pods.

use std::net::{IpAddr, SocketAddr};

use pod_runtime::NameServers;
use pod_runtime::backend::{Mount, MountSource, PodBackend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::survival::listen;
use crate::world::{PATIENCE, World, until, volume};

/// What a pod's server says to a probe.
pub(crate) async fn call(world: &World, address: SocketAddr) -> String {
    let mut stream = world.backend.connect(address, PATIENCE).await.expect("a connection");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

pub(crate) async fn the_pod_knows_its_name(world: &World) {
    let pod = world.sandbox("web-0").await;
    let mut spec = world.container("web-0", &["sleep", "1000"]);
    if !world.backend.capabilities().mounts {
        return;
    }
    let files = world.volume("files");
    let name = "web-0.nginx.default.svc.cluster.local";
    std::fs::write(files.join("hosts"), format!("127.0.0.1 localhost\n{}\t{name}\tweb-0\n", pod.ip)).expect("hosts");
    std::fs::write(files.join("resolv.conf"), "nameserver 10.77.0.1\n").expect("resolv.conf");
    spec.mounts.push(volume("/etc/hosts", &files.join("hosts"), false));
    spec.mounts.push(volume("/etc/resolv.conf", &files.join("resolv.conf"), true));
    world.start("web-0", spec).await;
    assert_eq!(world.exec("web-0", "hostname; hostname -f").await, (0, format!("web-0\n{name}")));
    assert_eq!(world.exec("web-0", "cat /etc/resolv.conf").await.1, "nameserver 10.77.0.1");
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a hostname");
    assert_ne!(own.trim(), "web-0", "the machine keeps its own name");
}

pub(crate) async fn two_pods_listen_on_one_port(world: &World) {
    let mut pods = Vec::new();
    // The plain-process tier shares the machine's ports, also with other runs of these tests.
    let port = if world.namespaced() { 80 } else { 20000 + u16::try_from(std::process::id() % 10000).expect("small") };
    for name in ["web-0", "web-1"] {
        let pod = world.sandbox(name).await;
        let address = if world.namespaced() { format!("0.0.0.0:{port}") } else { format!("{}:{port}", pod.ip) };
        listen(world, name, &address).await;
        pods.push(pod);
    }
    for pod in pods {
        let answer = call(world, (pod.ip, port).into()).await;
        if world.backend.capabilities().mounts {
            assert_eq!(answer.split(' ').next(), Some(pod.spec.name.as_str()));
        }
        let refused = world.backend.connect((pod.ip, 81).into(), PATIENCE).await;
        assert!(refused.is_err(), "nothing listens there");
    }
}

pub(crate) async fn names_are_asked_on_port_53(world: &World) {
    let Some(IpAddr::V4(server)) = world.backend.capabilities().nameserver else { return };
    // Two servers, of which the first is away.
    let away = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket").local_addr().expect("bound");
    let upstream = NameServers::new(vec![away, name_server().await]);
    let shutdown = CancellationToken::new();
    let backend = std::sync::Arc::clone(&world.backend);
    let relay = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { backend.serve_dns(upstream, shutdown).await }
    });
    world.sandbox("web-0").await;
    let program = std::env::current_exe().expect("own path");
    let address = format!("{server}:53");
    // The relay may come up after the question.
    let script = format!("until /fixture fixture ask {address} web-1; do sleep 0.05; done");
    let mut spec = world.container("web-0", &["sh", "-c", &script]);
    if !world.backend.capabilities().mounts {
        return;
    }
    spec.mounts.push(volume("/fixture", &program, true));
    world.start("web-0", spec).await;
    world.logged("web-0", "stdout F udp says web-1").await;
    world.logged("web-0", "stdout F tcp says web-1").await;
    shutdown.cancel();
    relay.await.expect("a task").expect("a clean end");
}

/// Answers each question with itself, by UDP and by TCP.
async fn name_server() -> SocketAddr {
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = tcp.local_addr().expect("an address");
    let udp = tokio::net::UdpSocket::bind(address).await.expect("a socket");
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, client)) = udp.recv_from(&mut question).await {
            let answer = [b"udp says ", &question[..length]].concat();
            udp.send_to(&answer, client).await.expect("an answer");
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut question = Vec::new();
            stream.read_to_end(&mut question).await.expect("a question");
            stream.write_all(&[b"tcp says ", question.as_slice()].concat()).await.expect("an answer");
        }
    });
    address
}

pub(crate) async fn mounts_appear_where_the_machine_has_no_path(world: &World) {
    if !world.backend.capabilities().mounts {
        return;
    }
    world.sandbox("web-0").await;
    let (data, config) = (world.volume("data"), world.volume("config"));
    std::fs::write(config.join("key"), "value").expect("a file");
    std::fs::create_dir(data.join("here-before")).expect("a directory");
    let mut spec = world.container("web-0", &["sleep", "1000"]);
    spec.mounts = vec![
        volume("/setkeeper-data", &data, false),
        volume("/setkeeper-data/deep/config", &config, true),
        volume("/var/lib/setkeeper-test/db", &data, false),
        volume("/usr/share/setkeeper-test/one/key.txt", &config.join("key"), true),
        Mount {
            target: "/cache".into(),
            source: MountSource::Memory { size_bytes: Some(1024 * 1024) },
            read_only: false,
        },
    ];
    world.start("web-0", spec).await;
    let said = world.exec("web-0", "echo persisted > /setkeeper-data/file; cat /var/lib/setkeeper-test/db/file").await;
    assert_eq!(said, (0, "persisted".to_owned()));
    assert_eq!(std::fs::read_to_string(data.join("file")).expect("a file"), "persisted\n");
    assert_eq!(world.exec("web-0", "cat /setkeeper-data/deep/config/key").await.1, "value");
    assert_eq!(world.exec("web-0", "cat /usr/share/setkeeper-test/one/key.txt").await.1, "value");
    assert_ne!(world.exec("web-0", "echo x > /setkeeper-data/deep/config/key").await.0, 0);
    assert_eq!(
        world.exec("web-0", "ls -d /setkeeper-data/here-before /var/lib /usr/share /usr/bin | wc -l").await.1,
        "4"
    );
    let (code, _) = world.exec("web-0", "head -c 3000000 /dev/zero > /cache/x").await;
    assert_ne!(code, 0, "memory is bounded");
    assert!(
        !std::path::Path::new("/setkeeper-data").exists() && !std::path::Path::new("/var/lib/setkeeper-test").exists()
    );
}

pub(crate) async fn the_machine_cannot_be_written(world: &World) {
    if !world.backend.capabilities().mounts {
        return;
    }
    world.sandbox("web-0").await;
    world.start("web-0", world.container("web-0", &["sleep", "1000"])).await;
    for path in ["/etc/x", "/usr/bin/x", "/var/lib/x", "/root/x", "/proc/sys/kernel/hostname"] {
        let (code, said) = world.exec("web-0", &format!("echo x > {path}")).await;
        assert_ne!(code, 0, "{path}: {said}");
    }
    for path in ["/tmp/x", "/run/x", "/var/tmp/x", "/dev/shm/x"] {
        assert_eq!(world.exec("web-0", &format!("echo x > {path} && cat {path}")).await, (0, "x".to_owned()), "{path}");
    }
    assert!(!std::path::Path::new("/run/x").exists());
    world.sandbox("web-1").await;
    let mut spec = world.container("web-1", &["sleep", "1000"]);
    spec.read_only_root = true;
    spec.mounts.push(volume("/kept", &world.volume("kept"), false));
    world.start("web-1", spec).await;
    for path in ["/x", "/tmp/x", "/run/x", "/var/tmp/x"] {
        assert_ne!(world.exec("web-1", &format!("echo x > {path}")).await.0, 0, "{path}");
    }
    assert_eq!(world.exec("web-1", "echo x > /kept/x && echo x > /dev/null").await.0, 0);
}

pub(crate) async fn the_state_directory_is_hidden(world: &World) {
    if !world.backend.capabilities().mounts {
        return;
    }
    let token = world.base.join("token");
    std::fs::write(&token, "secret").expect("a token");
    world.run("web-0", "sleep 1000").await;
    let (_, said) = world.exec("web-0", &format!("cat {}", token.display())).await;
    assert!(!said.contains("secret"), "{said}");
    let state = world.state_dir();
    let (_, listed) = world.exec("web-0", &format!("ls -A {} 2>/dev/null | wc -l", state.display())).await;
    assert_eq!(listed, "0");
    let (code, _) = world.exec("web-0", &format!("cat {}/pods/web-0/sandbox.json", state.display())).await;
    assert_ne!(code, 0);
    // The runtime's own program is there all the same, at its own path and only to be run.
    let program = std::env::current_exe().expect("own path");
    let (code, said) = world.exec("web-0", &format!("test -x {0} && ! touch {0}", program.display())).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = world.exec("web-0", "umount -l / ; umount /proc").await;
    assert_ne!(code, 0, "{said}");
}

pub(crate) async fn programs_run_as_the_user_asked_for(world: &World) {
    let capabilities = world.backend.capabilities();
    if capabilities.only_uid.is_some() || !capabilities.mounts {
        return;
    }
    world.sandbox("web-0").await;
    let data = world.volume("data");
    let mut spec = world.container("web-0", &["sh", "-c", "id -u; id -g; sleep 1000"]);
    (spec.user, spec.group) = (Some(12345), Some(23456));
    spec.mounts.push(volume("/data", &data, false));
    world.start("web-0", spec).await;
    world.logged("web-0", "stdout F 12345").await;
    world.logged("web-0", "stdout F 23456").await;
    assert_eq!(world.exec("web-0", "id -un; echo x > /data/x; stat -c %u /data/x").await.1, "user12345\n12345");
    let (_, bits) = world.exec("web-0", "grep -E 'CapEff|NoNewPrivs' /proc/self/status | tr -s '\\t\\n' ' '").await;
    assert_eq!(bits, "CapEff: 0000000000000000 NoNewPrivs: 1");
}

pub(crate) async fn a_pods_root_is_not_the_machines(world: &World) {
    if !world.backend.capabilities().mounts {
        return;
    }
    world.run("web-0", "sleep 1000").await;
    let (_, bits) = world.exec("web-0", "grep CapBnd /proc/self/status | cut -f2").await;
    let bits = u64::from_str_radix(bits.trim(), 16).expect("a set of capabilities");
    const SYS_ADMIN: u64 = 1 << 21;
    const MKNOD: u64 = 1 << 27;
    assert_eq!(bits & (SYS_ADMIN | MKNOD), 0, "{bits:x}");
    assert_ne!(world.exec("web-0", "mount -t tmpfs none /mnt").await.0, 0);
    if world.namespaced() {
        let (_, seen) = world.exec("web-0", "ls -d /proc/[0-9]* | wc -l").await;
        assert!(seen.parse::<u32>().expect("a number") < 10, "{seen} processes");
        until("the machine's first process out of sight", async || {
            (world.exec("web-0", "tr '\\0' ' ' < /proc/1/cmdline").await.1.contains("container-init")).then_some(())
        })
        .await;
    }
}
