//! Which features of a network interface are on, from the kernel's ethtool netlink (Linux 5.6 and newer), and its MTU. This needs no
//! privileges and, unlike the older ioctl, no `unsafe`.
//!
//! The netlink messages are built by hand: a message has a header of 16 bytes, the family's own header, and attributes of length, type
//! and value, each padded to 4 bytes. Numbers are in native byte order.

use crate::model::source::Interface;
use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send,
    socket_with,
};
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Largest answer about an interface's features, in bytes; Linux 6 sends about 12 000.
const NETLINK_ANSWER_BYTES: usize = 64 * 1024;
/// Longest wait for the kernel's answer.
const NETLINK_WAIT: Duration = Duration::from_secs(1);

const HEADER_BYTES: usize = 16;
const LINK_HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
const REQUEST: u16 = 1;
const ERROR: u16 = 2;
/// The bit in the type of a nested attribute; the next one is about byte order.
const NESTED: u16 = 0x8000;
const TYPE_BITS: u16 = 0x3fff;

/// The controller of generic netlink, which knows the number of the family `ethtool`.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

const GET_FEATURES: u8 = 11;
const FEATURES_HEADER: u16 = 1;
const HEADER_DEV_NAME: u16 = 2;
const FEATURES_ACTIVE: u16 = 4;
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;

/// The family of routes and links: what the kernel knows about an interface.
const GET_LINK: u16 = 18;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;

/// Routes: which way the kernel sends a packet.
const GET_ROUTE: u16 = 26;
const ROUTE_HEADER_BYTES: usize = 12;
const IPV4: u8 = 2;
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_INTERFACE: u16 = 4;

/// Queues of interfaces (qdiscs).
const GET_QUEUE: u16 = 38;
const QUEUE_HEADER_BYTES: usize = 20;
/// With this flag the kernel sends the answer to the sender too.
const ECHO: u16 = 8;
/// The parent of an interface's outermost queue.
const QUEUE_ROOT: u32 = u32::MAX;
const QUEUE_STATISTICS: u16 = 3;

/// The names of the features that are on, as in `ethtool -k`: `rx-gro`, `tx-tcp-segmentation`. Uses the network namespace of the calling
/// thread. Errs with ENODEV if the interface does not exist.
pub(super) fn active_features(interface: &Interface) -> io::Result<BTreeSet<String>> {
    let socket = open(Some(netlink::GENERIC))?;
    let ask =
        |family, command, attributes: &[u8]| ask(&socket, family, &[command, 1, 0, 0], attributes);
    let family = ask(
        CONTROLLER,
        GET_FAMILY,
        &attribute(FAMILY_NAME, b"ethtool\0"),
    )?;
    let id = number(&family, FAMILY_ID).map(u16::from_ne_bytes)?;
    let name = attribute(HEADER_DEV_NAME, &zero_terminated(interface));
    let header = attribute(FEATURES_HEADER | NESTED, &name);
    ask(id, GET_FEATURES, &header).map(|answer| active(&answer))
}

/// The interface's MTU in bytes. Errs like [`active_features`].
pub(super) fn mtu(interface: &Interface) -> io::Result<u32> {
    let name = attribute(LINK_NAME, &zero_terminated(interface));
    let answer = ask(&open(None)?, GET_LINK, &[0; LINK_HEADER_BYTES], &name)?;
    number(&answer, LINK_MTU).map(u32::from_ne_bytes)
}

/// The interface through which the kernel would send to `target`. Sends nothing there.
pub(super) fn interface_to(target: Ipv4Addr) -> io::Result<Interface> {
    let socket = open(None)?;
    let mut header = [0; ROUTE_HEADER_BYTES];
    (header[0], header[1]) = (IPV4, 32);
    let answer = ask(
        &socket,
        GET_ROUTE,
        &header,
        &attribute(ROUTE_DESTINATION, &target.octets()),
    )?;
    let index = number(&answer, ROUTE_INTERFACE).map(u32::from_ne_bytes)?;
    let name = index_to_name(any_socket()?, index)?;
    name.parse().map_err(|_| malformed_answer())
}

/// How many packets the queue (qdisc) of `interface` has dropped. Errs if it has none.
pub(super) fn queue_drops(interface: &Interface) -> io::Result<u64> {
    let index = name_to_index(any_socket()?, interface.as_str())?;
    let mut header = [0; QUEUE_HEADER_BYTES];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[12..16].copy_from_slice(&QUEUE_ROOT.to_ne_bytes());
    let answer = ask_with(&open(None)?, GET_QUEUE, REQUEST | ECHO, &header, &[])?;
    // Bytes in 8 bytes, packets in 4, dropped packets in 4, and more.
    let statistics: [u8; 16] = number(&answer, QUEUE_STATISTICS)?;
    let drops = [
        statistics[12],
        statistics[13],
        statistics[14],
        statistics[15],
    ];
    Ok(u32::from_ne_bytes(drops).into())
}

/// A socket through which the kernel is asked for names and indices of interfaces.
fn any_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        flags,
        None,
    )?)
}

/// The bytes of the number in the first attribute of a kind.
fn number<const BYTES: usize>(answer: &[u8], wanted: u16) -> io::Result<[u8; BYTES]> {
    attributes(answer)
        .find(|(kind, _)| *kind == wanted)
        .and_then(|(_, value)| value.get(..BYTES)?.try_into().ok())
        .ok_or_else(malformed_answer)
}

/// The interface's name with a terminating zero.
fn zero_terminated(interface: &Interface) -> Vec<u8> {
    [interface.as_str().as_bytes(), b"\0"].concat()
}

/// A socket for the kernel's `protocol`; for routes and links if there is none.
fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
    let socket = socket_with(family, SocketType::RAW, flags, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(NETLINK_WAIT))?;
    Ok(socket)
}

/// Sends a request and returns the attributes of the answer, whose family header is as long as the request's.
fn ask(socket: &OwnedFd, kind: u16, header: &[u8], attributes: &[u8]) -> io::Result<Vec<u8>> {
    ask_with(socket, kind, REQUEST, header, attributes)
}

fn ask_with(
    socket: &OwnedFd,
    kind: u16,
    flags: u16,
    header: &[u8],
    attributes: &[u8],
) -> io::Result<Vec<u8>> {
    let mut message = request(kind, header, attributes);
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    send(socket, &message, SendFlags::empty())?;
    let mut answer = vec![0; NETLINK_ANSWER_BYTES];
    let (bytes, total) = recv(socket, answer.as_mut_slice(), RecvFlags::TRUNC)?;
    match total > bytes {
        true => Err(malformed_answer()),
        false => body(&answer[..bytes], header.len()).map(<[u8]>::to_vec),
    }
}

fn request(kind: u16, header: &[u8], attributes: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + header.len() + attributes.len();
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    // Sequence number and sender are 0: there is one request at a time, and the kernel knows the sender.
    message.extend([0; 8]);
    message.extend(header);
    message.extend(attributes);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = ATTRIBUTE_HEADER_BYTES + value.len();
    let mut attribute = Vec::with_capacity(length.next_multiple_of(4));
    attribute.extend((length as u16).to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(length.next_multiple_of(4), 0);
    attribute
}

/// The attributes of the first message in `answer`, after a family header of this many bytes. Errs if the answer is the kernel's error.
fn body(answer: &[u8], header_bytes: usize) -> io::Result<&[u8]> {
    let length = answer
        .get(..4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(|bytes| u32::from_ne_bytes(bytes) as usize);
    let message = length
        .and_then(|length| answer.get(..length))
        .ok_or_else(malformed_answer)?;
    let kind = message.get(4..6).ok_or_else(malformed_answer)?;
    if kind == ERROR.to_ne_bytes() {
        let code = message
            .get(HEADER_BYTES..HEADER_BYTES + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map(i32::from_ne_bytes)
            .ok_or_else(malformed_answer)?;
        return Err(io::Error::from_raw_os_error(code.saturating_neg()));
    }
    message
        .get(HEADER_BYTES + header_bytes..)
        .ok_or_else(malformed_answer)
}

/// Type and value of each attribute; ends at a truncated one.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(ATTRIBUTE_HEADER_BYTES..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE_BITS, value))
    })
}

/// The names in the set of active features: a list in which every bit is set.
fn active(answer: &[u8]) -> BTreeSet<String> {
    attributes(answer)
        .filter(|(kind, _)| *kind == FEATURES_ACTIVE)
        .flat_map(|(_, bitset)| attributes(bitset))
        .filter(|(kind, _)| *kind == BITSET_BITS)
        .flat_map(|(_, bits)| attributes(bits))
        .filter(|(kind, _)| *kind == BITS_BIT)
        .flat_map(|(_, bit)| attributes(bit))
        .filter(|(kind, _)| *kind == BIT_NAME)
        .map(|(_, name)| {
            let name = name.split(|&b| b == 0).next().unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        })
        .collect()
}

fn malformed_answer() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the kernel's answer is malformed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const GENERIC_HEADER: [u8; 4] = [GET_FEATURES, 1, 0, 0];

    /// An answer with two active features, in the kernel's layout.
    fn answer() -> Vec<u8> {
        let bit = |name: &[u8]| {
            let name = attribute(BIT_NAME, name);
            attribute(
                BITS_BIT | NESTED,
                &[attribute(1, &[7, 0, 0, 0]), name].concat(),
            )
        };
        let bits = [bit(b"rx-gro\0"), bit(b"tx-generic-segmentation\0")].concat();
        let set = |kind, bits: &[u8]| {
            let all = [attribute(1, &[]), attribute(BITSET_BITS | NESTED, bits)].concat();
            attribute(kind | NESTED, &all)
        };
        let other = bit(b"tx-lockless\0");
        let sets = [set(2, &other), set(FEATURES_ACTIVE, &bits), set(5, &other)].concat();
        request(0x14, &GENERIC_HEADER, &sets)
    }

    #[test]
    fn active_features_are_read_and_no_others() {
        let features = active(body(&answer(), GENERIC_HEADER.len()).unwrap());
        let names: Vec<&str> = features.iter().map(String::as_str).collect();
        assert_eq!(names, ["rx-gro", "tx-generic-segmentation"]);
    }

    #[test]
    fn an_error_of_the_kernel_is_returned() {
        let mut error = request(ERROR, &GENERIC_HEADER, &[]);
        error.splice(HEADER_BYTES.., (-19i32).to_ne_bytes());
        assert_eq!(
            body(&error, GENERIC_HEADER.len())
                .unwrap_err()
                .raw_os_error(),
            Some(19)
        );
    }

    #[test]
    fn the_loopback_has_features() {
        // A kernel without it, or a sandbox, may not answer.
        let Ok(features) = active_features(&"lo".parse().unwrap()) else {
            return;
        };
        assert!(features.contains("loopback"), "{features:?}");
        let missing = active_features(&"no-such-thing".parse().unwrap()).unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(19), "ENODEV");
    }

    #[test]
    fn the_loopback_has_an_mtu() {
        let expected = fs::read_to_string("/sys/class/net/lo/mtu").unwrap_or_default();
        let Ok(mtu) = mtu(&"lo".parse().unwrap()) else {
            return;
        };
        assert_eq!(Some(mtu), expected.trim().parse().ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..400) {
            let _ = body(&bytes, GENERIC_HEADER.len()).map(active);
            let answer = answer();
            let _ = body(&answer[..cut.min(answer.len())], GENERIC_HEADER.len()).map(active);
            active(&bytes);
        }
    }
}
