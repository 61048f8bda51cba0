//! Networks of the configuration, and the check whether an address is in one.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

/// Networks and single addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether the address is in one of them. An IPv4-mapped IPv6 address counts as the IPv4 address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<String>> for Networks {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Networks, String> {
        let network = |text: &String| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            let network = text.parse::<IpNet>().or_else(|_| address());
            network.map_err(|_| {
                format!("{text:?}: networks and addresses are allowed, like \"10.0.0.0/8\" or \"10.1.2.3\"")
            })
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Networks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_in_its_network_also_in_its_ipv6_form() {
        let texts = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"].map(str::to_owned);
        let networks = Networks::try_from(texts.to_vec()).unwrap();
        let contains = |address: &str| networks.contain(address.parse().unwrap());
        for address in ["10.255.0.1", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8:1::", "::1"] {
            assert!(contains(address), "{address}");
        }
        for address in [
            "11.0.0.1",
            "192.0.2.8",
            "::ffff:11.0.0.1",
            "2001:db9::",
            "::2",
            "0.0.0.1",
        ] {
            assert!(!contains(address), "{address}");
        }
    }

    #[test]
    fn the_error_names_a_text_that_is_no_network() {
        for wrong in ["10.0.0.0/33", "localhost", "", "10.0.0", "10.0.0.1:80"] {
            let error = Networks::try_from(vec![wrong.to_owned()]).unwrap_err();
            assert!(
                error.contains(&format!("{wrong:?}")) && error.contains("10.0.0.0/8"),
                "{error}"
            );
        }
    }
}
