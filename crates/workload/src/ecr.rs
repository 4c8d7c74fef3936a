use crate::Reference;

/// A private registry of Amazon ECR, as its host name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ecr {
    account: String,
    region: String,
    partition: Partition,
}

/// The part of AWS that an account belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// `aws` and `aws-us-gov`, which share their domain.
    Commercial,
    /// `aws-cn`.
    China,
    /// `aws-eusc`, the European sovereign cloud.
    EuropeanSovereign,
    /// The isolated partitions (`aws-iso`, `-b`, `-e`, `-f`).
    Isolated,
}

/// The domains of ECR's endpoints, as the kubelet's ECR credential provider lists them
/// (kubernetes/cloud-provider-aws, `ecrPrivateHostPattern`), with the partition that each stands for.
const DOMAINS: [(&str, Partition, Stack); 9] = [
    ("amazonaws.com", Partition::Commercial, Stack::V4),
    ("amazonaws.com.cn", Partition::China, Stack::V4),
    ("amazonaws.eu", Partition::EuropeanSovereign, Stack::V4),
    ("on.aws", Partition::Commercial, Stack::Dual),
    ("on.amazonwebservices.com.cn", Partition::China, Stack::Dual),
    ("c2s.ic.gov", Partition::Isolated, Stack::V4),
    ("sc2s.sgov.gov", Partition::Isolated, Stack::V4),
    ("cloud.adc-e.uk", Partition::Isolated, Stack::V4),
    ("csp.hci.ic.gov", Partition::Isolated, Stack::V4),
];

/// Dual-stack endpoints (IPv4 and IPv6) are spelled `dkr-ecr`, the others `dkr.ecr`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stack {
    V4,
    Dual,
}

impl Ecr {
    /// Reads a registry's host. `None` for everything that is no private ECR registry, `public.ecr.aws` included: that
    /// one has neither account nor region.
    pub fn from_host(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let (account, rest) = host.split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (service, rest) = match rest.strip_prefix("dkr.") {
            Some(rest) => rest.split_once('.')?,
            None => rest.strip_prefix("dkr-")?.split_once('.')?,
        };
        let stack = if host.get(12..)?.starts_with(".dkr.") { Stack::V4 } else { Stack::Dual };
        // `ecr-fips` is the endpoint with validated cryptography.
        if !matches!(service, "ecr" | "ecr-fips") {
            return None;
        }
        let (region, domain) = rest.split_once('.')?;
        let valid_region = region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let (_, partition, _) = DOMAINS.iter().find(|(name, _, of)| *name == domain && *of == stack)?;
        (valid_region && !region.is_empty()).then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
            partition: *partition,
        })
    }

    /// The registry of a reference, where it is a private ECR one.
    pub fn of(reference: &Reference) -> Option<Self> {
        Self::from_host(reference.registry())
    }

    /// The 12 digits of the account.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The region, such as `eu-west-1`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The partition that the domain stands for.
    pub fn partition(&self) -> Partition {
        self.partition
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "eu-west-1", Partition::Commercial)]
    #[case::us_gov("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com", "us-gov-west-1", Partition::Commercial)]
    #[case::china("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1", Partition::China)]
    #[case::sovereign(
        "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
        "eusc-de-east-1",
        Partition::EuropeanSovereign
    )]
    #[case::fips("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "us-east-1", Partition::Commercial)]
    #[case::dual_stack("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1", Partition::Commercial)]
    #[case::dual_stack_fips("123456789012.dkr-ecr-fips.us-east-1.on.aws", "us-east-1", Partition::Commercial)]
    #[case::dual_stack_china(
        "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
        "cn-north-1",
        Partition::China
    )]
    #[case::isolated("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", Partition::Isolated)]
    #[case::capitals("123456789012.DKR.ecr.eu-west-1.amazonaws.com", "eu-west-1", Partition::Commercial)]
    fn hosts_of_every_partition_are_read(#[case] host: &str, #[case] region: &str, #[case] partition: Partition) {
        let ecr = Ecr::from_host(host).unwrap();
        assert_eq!(ecr.account(), "123456789012");
        assert_eq!(ecr.region(), region);
        assert_eq!(ecr.partition(), partition);
    }

    #[rstest]
    #[case::public("public.ecr.aws")]
    #[case::short_account("12345678901.dkr.ecr.eu-west-1.amazonaws.com")]
    #[case::letters("12345678901a.dkr.ecr.eu-west-1.amazonaws.com")]
    #[case::no_region("123456789012.dkr.ecr.amazonaws.com")]
    #[case::other_service("123456789012.dkr.eks.eu-west-1.amazonaws.com")]
    #[case::someone_elses_domain("123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example")]
    #[case::dual_stack_name_on_the_other_domain("123456789012.dkr-ecr.eu-west-1.amazonaws.com")]
    #[case::plain_name_on_the_dual_stack_domain("123456789012.dkr.ecr.eu-west-1.on.aws")]
    #[case::with_a_port("123456789012.dkr.ecr.eu-west-1.amazonaws.com:443")]
    #[case::nothing("")]
    fn other_hosts_are_not_taken_for_ecr(#[case] host: &str) {
        assert_eq!(Ecr::from_host(host), None);
    }
}
