//! The node's bridge and a pod's link to it, over rtnetlink.
//!
//! Hardware addresses follow from IP addresses, so that a pod that comes back with its address, or a bridge that gains
//! and loses ports, leaves no stale neighbour entries behind in its peers.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use futures::TryStreamExt;
use nix::sched::{CloneFlags, unshare};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::record::SandboxRecord;

const BRIDGE: &str = "setkeeper0";

/// Runs netlink work to its end on this thread; starts no other, so that namespaces may still be changed.
pub(crate) fn run<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(work)
}

/// Brings up loopback and the bridge in the network namespace of the caller. May be repeated.
pub(crate) async fn set_up_node(gateway: Ipv4Addr, prefix_length: u8) -> io::Result<()> {
    let netlink = connect()?;
    bring_up(&netlink, "lo").await?;
    if index(&netlink, BRIDGE).await?.is_none() {
        let bridge = LinkBridge::new(BRIDGE).address(hardware_address(gateway)).up().build();
        netlink.link().add(bridge).execute().await.map_err(refused)?;
    }
    let bridge = require(&netlink, BRIDGE).await?;
    netlink.address().add(bridge, gateway.into(), prefix_length).replace().execute().await.map_err(refused)
}

/// Moves the caller into a network namespace of its own (hostname and IPC with it), linked to the node's bridge.
pub(crate) async fn set_up_pod(record: &SandboxRecord) -> io::Result<()> {
    let node = connect()?;
    // A socket stays in the namespace where it was made: `node` still speaks to the node's network after this.
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)?;
    let bridge = require(&node, BRIDGE).await?;
    let outer = outer_name(record.ip);
    if let Some(stale) = index(&node, &outer).await? {
        // The network of a shim that was killed goes away some time after it.
        node.link().del(stale).execute().await.or_else(ignore_absent)?;
    }
    let inner = LinkMessageBuilder::<LinkUnspec>::new()
        .name("eth0")
        .address(hardware_address(record.ip))
        .setns_by_pid(std::process::id())
        .build();
    let link = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(outer)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
        .controller(bridge)
        .up()
        .build();
    node.link().add(link).execute().await.map_err(refused)?;

    let pod = connect()?;
    bring_up(&pod, "lo").await?;
    let eth0 = require(&pod, "eth0").await?;
    pod.address().add(eth0, record.ip.into(), record.prefix_length).execute().await.map_err(refused)?;
    bring_up(&pod, "eth0").await?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(record.gateway).build();
    pod.route().add(route).execute().await.map_err(refused)?;
    relax_port_rules();
    Ok(())
}

/// Lets every user of the pod bind low ports and ping, as container runtimes do. Where /proc/sys is read-only, as in
/// some containers, the pod runs without.
fn relax_port_rules() {
    let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let ping = "/proc/sys/net/ipv4/ping_group_range";
    if fs::write(ping, "0 2147483647").is_err() {
        let _ = fs::write(ping, "0 0");
    }
}

fn connect() -> io::Result<Handle> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    // Ends with the handle; the runtime that polls it lives only for this one piece of work.
    tokio::spawn(connection);
    Ok(handle)
}

async fn index(netlink: &Handle, name: &str) -> io::Result<Option<u32>> {
    match netlink.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(link) => Ok(link.map(|link| link.header.index)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(refused(error)),
    }
}

async fn require(netlink: &Handle, name: &str) -> io::Result<u32> {
    index(netlink, name).await?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no link {name}")))
}

async fn bring_up(netlink: &Handle, name: &str) -> io::Result<()> {
    let link = require(netlink, name).await?;
    let message = LinkMessageBuilder::<LinkUnspec>::new().index(link).up().build();
    netlink.link().set(message).execute().await.map_err(refused)
}

fn is_absent(error: &rtnetlink::Error) -> bool {
    const ENODEV: i32 = nix::errno::Errno::ENODEV as i32;
    matches!(error, rtnetlink::Error::NetlinkError(message) if message.raw_code().abs() == ENODEV)
}

fn ignore_absent(error: rtnetlink::Error) -> io::Result<()> {
    if is_absent(&error) { Ok(()) } else { Err(refused(error)) }
}

fn refused(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

/// Locally administered, one for each address.
fn hardware_address(ip: Ipv4Addr) -> Vec<u8> {
    let [a, b, c, d] = ip.octets();
    vec![0x0a, 0x58, a, b, c, d]
}

/// The node's end of a pod's link; at most 15 bytes.
fn outer_name(ip: Ipv4Addr) -> String {
    format!("pod{:08x}", u32::from(ip))
}
