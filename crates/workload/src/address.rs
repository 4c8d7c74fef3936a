use std::fmt;
use std::str::FromStr;

use crate::reference::{DOCKER_HUB, canonical_registry, is_explicit_registry, is_host_and_port};

/// The `host:port` of a registry, as it stands in front of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

/// Why a text is not an [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It has a scheme.
    Scheme,
    /// It has a path.
    Path,
    /// It is an IPv6 address.
    Ipv6,
    /// It would be read as a name at Docker Hub.
    TakenForDockerHub,
    /// Its port is none.
    Port,
    /// Anything else.
    Invalid,
}

impl std::error::Error for AddressError {}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "write host:port without https:// or http://; TLS is the policy server's setting",
            Self::Path => "write host:port alone, without a slash",
            Self::Ipv6 => "image references have no IPv6 addresses; write a host name",
            Self::TakenForDockerHub => {
                "an address without a dot or a port would be taken for a name at Docker Hub; write host:port, \
                 for example harbor-warmer.kubewarden.svc:8443"
            }
            Self::Port => "a port is a number from 1 to 65535",
            Self::Invalid => "write host:port, for example harbor-warmer.kubewarden.svc:8443",
        })
    }
}

impl Address {
    /// As it stands in front of a reference.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains("://") {
            return Err(AddressError::Scheme);
        }
        if text.contains('/') {
            return Err(AddressError::Path);
        }
        if text.starts_with('[') || text.matches(':').count() > 1 {
            return Err(AddressError::Ipv6);
        }
        if let Some((_, port)) = text.split_once(':')
            && !port.parse::<u16>().is_ok_and(|port| port > 0)
        {
            return Err(AddressError::Port);
        }
        // By the grammar that the host itself parses references by. What it is called stays as it is written, port 443
        // included: credentials and authorities stand under exactly that.
        if !is_host_and_port(text) {
            return Err(AddressError::Invalid);
        }
        if !is_explicit_registry(text) || canonical_registry(text) == DOCKER_HUB {
            return Err(AddressError::TakenForDockerHub);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::service("harbor-warmer.kubewarden.svc:8443")]
    #[case::dot_without_port("warmer.example.com")]
    #[case::port_without_dot("warmer:8443")]
    #[case::localhost("localhost")]
    #[case::ipv4("127.0.0.1:7171")]
    #[case::port_443("warmer.example.com:443")]
    #[case::capitals("Warmer.example.com:8443")]
    fn an_address_that_the_host_takes_for_a_registry_is_one(#[case] text: &str) {
        assert_eq!(text.parse::<Address>().map(|address| address.as_str().to_owned()), Ok(text.to_owned()));
    }

    #[rstest]
    #[case::docker_hub("warmer", AddressError::TakenForDockerHub)]
    #[case::docker_hubs_old_name("index.docker.io", AddressError::TakenForDockerHub)]
    #[case::ipv6("[::1]:8443", AddressError::Ipv6)]
    #[case::bare_ipv6("::1", AddressError::Ipv6)]
    #[case::scheme("https://warmer.example.com", AddressError::Scheme)]
    #[case::path("warmer.example.com/v2", AddressError::Path)]
    #[case::port("warmer.example.com:http", AddressError::Port)]
    #[case::port_zero("warmer.example.com:0", AddressError::Port)]
    #[case::no_port("warmer.example.com:", AddressError::Port)]
    #[case::empty("", AddressError::Invalid)]
    #[case::underscore("war_mer.example.com", AddressError::Invalid)]
    fn other_addresses_are_refused_for_their_reason(#[case] text: &str, #[case] error: AddressError) {
        assert_eq!(text.parse::<Address>(), Err(error));
    }
}
