//! Reads `/proc/net/tcp` and `/proc/net/tcp6`: where a process listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The kernel's number for a socket that listens.
const LISTEN: &str = "0A";

/// The addresses of all listening sockets in the text of one or both tables, sorted, each once.
/// Lines that are something else are passed over.
#[must_use]
pub fn parse_proc_net_tcp(text: &str) -> Vec<SocketAddr> {
    let mut listeners: Vec<SocketAddr> = text.lines().filter_map(parse_line).collect();
    listeners.sort_unstable();
    listeners.dedup();
    listeners
}

fn parse_line(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = fields.next()?;
    let state = fields.nth(1)?;
    if state != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(parse_address(address)?, port))
}

/// The kernel prints each 32-bit word of an address in the byte order of the machine: little-endian wherever we run.
fn parse_address(hex: &str) -> Option<IpAddr> {
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_le_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (part, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(part * 8)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLES: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
        \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n\
        \x20  1: 0F02000A:0016 0202000A:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0\n\
        \x20 sl  local_address                         remote_address                        st\n\
        \x20  0: 00000000000000000000000000000000:2382 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 3\n\
        \x20  1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 4\n\
        \x20  2: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 5\n";

    #[test]
    fn listening_sockets_of_both_tables_are_found() {
        let listeners: Vec<String> = parse_proc_net_tcp(TABLES).iter().map(ToString::to_string).collect();

        assert_eq!(listeners, ["127.0.0.1:8080", "127.0.0.1:8081", "[::]:9090", "[::1]:80"]);
    }

    proptest! {
        #[test]
        fn no_table_is_too_strange(text in ".*(\n.*){0,10}") {
            let _ = parse_proc_net_tcp(&text);
        }

        #[test]
        fn every_ipv4_listener_is_read_back(address in any::<u32>(), port in any::<u16>()) {
            let address = Ipv4Addr::from(address);
            let line = format!("0: {:08X}:{port:04X} 00000000:0000 0A", u32::from_le_bytes(address.octets()));
            prop_assert_eq!(parse_proc_net_tcp(&line), [SocketAddr::from((address, port))]);
        }
    }
}
