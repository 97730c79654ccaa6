//! Addresses that count as one, so that limits by address do not grow with the addresses of one machine.

use core::net::IpAddr;

/// Addresses that count as one: a user who has one IPv6 address has all 2⁶⁴ of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbourhood(Option<IpAddr>);

impl Neighbourhood {
    /// Clients whose address is not known count as one.
    pub fn of(addr: Option<IpAddr>) -> Self {
        Neighbourhood(addr.map(|addr| match addr.to_canonical() {
            IpAddr::V6(addr) => IpAddr::V6((u128::from(addr) >> 64 << 64).into()),
            v4 => v4,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one() {
        let of = |text: &str| Neighbourhood::of(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.2"), of("10.0.0.1"));
        assert_eq!(Neighbourhood::of(None), Neighbourhood::of(None));
    }
}
