//! Who may be connected at once, and who goes when there are too many. Pure: it holds no socket and reads no clock.
//!
//! A connection is a *stranger* until it has proved something, which is up to the port: the registry port wants a
//! cluster's credentials, the others a whole request. After that it is *busy* while it is answered, and *idle*.
//!
//! With every place taken, somebody goes for the next one: a stranger where strangers hold more than their quarter of the
//! places, else whoever has been idle longest, else a stranger after all. Of the strangers it is always the oldest of
//! the peer that has most of them, so a crowd from one address costs only itself its places. Who is being answered is
//! never cut; where everybody is, the newcomer waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// One connection; later ones have greater numbers.
pub(super) type Id = u64;

/// Whose connections are counted together: an IPv4 address, or the /64 network that an IPv6 host chooses its own from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
        }
    }
}

/// The connections of a port, each with what cuts it.
#[derive(Debug)]
pub(super) struct Connections<C> {
    places: usize,
    /// Counts both connections and their turns to be idle.
    clock: u64,
    all: HashMap<Id, Connection<C>>,
    strangers: BTreeMap<Peer, BTreeSet<Id>>,
    /// Peers by how many strangers they have; of as many, the one with the oldest comes last.
    crowds: BTreeSet<(usize, Reverse<Id>, Peer)>,
    stranger_count: usize,
    idle: BTreeSet<(u64, Id)>,
}

#[derive(Debug)]
struct Connection<C> {
    peer: Peer,
    standing: Standing,
    cut: C,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Stranger,
    Busy,
    Idle { since: u64 },
}

/// What came of a newcomer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening<C> {
    /// It has a place.
    Admitted {
        /// Its number.
        id: Id,
        /// Who went for it.
        cut: Option<C>,
    },
    /// Everybody is being answered.
    Full,
}

impl<C> Connections<C> {
    /// For so many at once.
    pub(super) fn new(places: usize) -> Self {
        Self {
            places,
            clock: 0,
            all: HashMap::new(),
            strangers: BTreeMap::new(),
            crowds: BTreeSet::new(),
            stranger_count: 0,
            idle: BTreeSet::new(),
        }
    }

    /// Somebody connects. `cut` is what ends the connection.
    pub(super) fn open(&mut self, peer: Peer, cut: impl FnOnce() -> C) -> Opening<C> {
        let mut gone = None;
        if self.all.len() >= self.places {
            match self.next_to_go() {
                Some(id) => gone = self.close(id),
                None => return Opening::Full,
            }
        }
        self.clock += 1;
        let id = self.clock;
        self.all.insert(id, Connection { peer, standing: Standing::Stranger, cut: cut() });
        self.change_strangers(peer, |ids| ids.insert(id));
        Opening::Admitted { id, cut: gone }
    }

    /// A connection has proved who it is, and is being answered.
    pub(super) fn proved(&mut self, id: Id) {
        self.put(id, Standing::Busy);
    }

    /// A connection that has proved who it is asks for something.
    pub(super) fn asked(&mut self, id: Id) {
        if self.all.get(&id).is_some_and(|connection| connection.standing != Standing::Stranger) {
            self.put(id, Standing::Busy);
        }
    }

    /// A connection has its answer.
    pub(super) fn answered(&mut self, id: Id) {
        if self.all.get(&id).is_some_and(|connection| connection.standing == Standing::Busy) {
            self.clock += 1;
            self.put(id, Standing::Idle { since: self.clock });
        }
    }

    /// A connection has ended. What cuts it, if it was not known to have ended before.
    pub(super) fn close(&mut self, id: Id) -> Option<C> {
        let connection = self.all.remove(&id)?;
        self.leave(id, connection.peer, connection.standing);
        Some(connection.cut)
    }

    /// Whether it has proved nothing yet, and has a place.
    pub(super) fn is_stranger(&self, id: Id) -> bool {
        self.all.get(&id).is_some_and(|connection| connection.standing == Standing::Stranger)
    }

    fn next_to_go(&self) -> Option<Id> {
        let stranger = || {
            let (_, _, peer) = self.crowds.last()?;
            self.strangers.get(peer)?.first().copied()
        };
        let idle = || self.idle.first().map(|(_, id)| *id);
        if self.stranger_count > self.places / 4 { stranger().or_else(idle) } else { idle().or_else(stranger) }
    }

    fn put(&mut self, id: Id, standing: Standing) {
        let Some(connection) = self.all.get_mut(&id) else { return };
        let before = std::mem::replace(&mut connection.standing, standing);
        let peer = connection.peer;
        self.leave(id, peer, before);
        if let Standing::Idle { since } = standing {
            self.idle.insert((since, id));
        }
    }

    fn leave(&mut self, id: Id, peer: Peer, standing: Standing) {
        match standing {
            Standing::Stranger => self.change_strangers(peer, |ids| ids.remove(&id)),
            Standing::Idle { since } => {
                self.idle.remove(&(since, id));
            }
            Standing::Busy => {}
        }
    }

    fn change_strangers(&mut self, peer: Peer, change: impl FnOnce(&mut BTreeSet<Id>) -> bool) {
        let ids = self.strangers.entry(peer).or_default();
        let before = ids.len();
        if let Some(oldest) = ids.first() {
            self.crowds.remove(&(before, Reverse(*oldest), peer));
        }
        change(ids);
        self.stranger_count = self.stranger_count + ids.len() - before;
        match ids.first() {
            Some(oldest) => {
                self.crowds.insert((ids.len(), Reverse(*oldest), peer));
            }
            None => {
                self.strangers.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn peer(last: u8) -> Peer {
        IpAddr::from([10, 0, 0, last]).into()
    }

    fn admitted(opening: Opening<Id>) -> (Id, Option<Id>) {
        match opening {
            Opening::Admitted { id, cut } => (id, cut),
            Opening::Full => panic!("there is no place"),
        }
    }

    /// Opens a connection whose cut is its own number.
    fn open(connections: &mut Connections<Id>, from: u8) -> (Id, Option<Id>) {
        let next = connections.clock + 1;
        admitted(connections.open(peer(from), || next))
    }

    fn prove(connections: &mut Connections<Id>, id: Id) {
        connections.proved(id);
        connections.answered(id);
    }

    #[rstest]
    #[case("10.0.0.1", "10.0.0.2", false)]
    #[case("10.0.0.1", "::ffff:10.0.0.1", true)]
    #[case("2001:db8::1", "2001:db8::ffff:0:0:1", true)]
    #[case("2001:db8::1", "2001:db8:0:1::1", false)]
    fn a_host_of_ipv6_is_its_network(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        let peer = |text: &str| Peer::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(peer(one) == peer(other), same);
    }

    #[test]
    fn a_crowd_from_one_address_costs_only_itself_its_places() {
        let mut connections = Connections::new(8);
        let crowd: Vec<_> = (0..7).map(|_| open(&mut connections, 1).0).collect();
        let (other, cut) = open(&mut connections, 2);
        assert_eq!(cut, None);
        let (_, cut) = open(&mut connections, 1);
        assert_eq!(cut, Some(crowd[0]), "its oldest");
        let (_, cut) = open(&mut connections, 3);
        assert_eq!(cut, Some(crowd[1]));
        assert!(connections.is_stranger(other));
    }

    #[test]
    fn strangers_go_before_those_who_have_proved_who_they_are() {
        let mut connections = Connections::new(8);
        let known: Vec<_> = (0..5).map(|_| open(&mut connections, 1).0).collect();
        known.iter().for_each(|id| prove(&mut connections, *id));
        let strangers: Vec<_> = (2..5).map(|from| open(&mut connections, from).0).collect();
        for stranger in &strangers[..2] {
            assert_eq!(open(&mut connections, 9).1, Some(*stranger));
        }
    }

    #[test]
    fn a_few_strangers_are_on_their_way_in_and_the_longest_idle_goes_for_them() {
        let mut connections = Connections::new(8);
        let known: Vec<_> = (0..6).map(|_| open(&mut connections, 1).0).collect();
        known.iter().for_each(|id| prove(&mut connections, *id));
        connections.asked(known[0]);
        connections.answered(known[0]);
        let newcomers = [open(&mut connections, 2).0, open(&mut connections, 3).0];
        let (third, cut) = open(&mut connections, 4);
        assert_eq!(cut, Some(known[1]), "the first asked again since");
        assert!([newcomers[0], newcomers[1], third].iter().all(|id| connections.is_stranger(*id)));
    }

    #[test]
    fn who_is_being_answered_is_never_cut() {
        let mut connections = Connections::new(2);
        let busy = [open(&mut connections, 1).0, open(&mut connections, 1).0];
        busy.iter().for_each(|id| connections.proved(*id));
        assert_eq!(connections.open(peer(2), || 0), Opening::Full);
        connections.answered(busy[1]);
        assert_eq!(open(&mut connections, 2).1, Some(busy[1]));
    }

    #[derive(Clone, Debug)]
    enum Event {
        Open(u8),
        Proved(usize),
        Asked(usize),
        Answered(usize),
        Closed(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..4u8).prop_map(Event::Open),
            2 => any::<prop::sample::Index>().prop_map(|index| Event::Proved(index.index(64))),
            1 => any::<prop::sample::Index>().prop_map(|index| Event::Asked(index.index(64))),
            2 => any::<prop::sample::Index>().prop_map(|index| Event::Answered(index.index(64))),
            1 => any::<prop::sample::Index>().prop_map(|index| Event::Closed(index.index(64))),
        ]
    }

    proptest! {
        #[test]
        fn the_books_always_agree_and_nobody_goes_without_need(events in prop::collection::vec(event(), 1..200)) {
            let mut connections = Connections::new(6);
            let mut opened = Vec::new();
            for event in events {
                let pick = |index: usize| opened.get(index % opened.len().max(1)).copied();
                match event {
                    Event::Open(from) => {
                        let before = connections.all.len();
                        let next = connections.clock + 1;
                        match connections.open(peer(from), || next) {
                            Opening::Admitted { id, cut } => {
                                prop_assert_eq!(cut.is_some(), before == 6);
                                opened.push(id);
                            }
                            Opening::Full => prop_assert!(
                                connections.all.values().all(|one| one.standing == Standing::Busy)
                            ),
                        }
                    }
                    Event::Proved(index) => if let Some(id) = pick(index) { connections.proved(id) },
                    Event::Asked(index) => if let Some(id) = pick(index) { connections.asked(id) },
                    Event::Answered(index) => if let Some(id) = pick(index) { connections.answered(id) },
                    Event::Closed(index) => if let Some(id) = pick(index) { let _cut = connections.close(id); },
                }
                prop_assert!(connections.all.len() <= 6);
                let strangers: Vec<_> = connections
                    .all.iter().filter(|(_, one)| one.standing == Standing::Stranger).map(|(id, one)| (one.peer, *id))
                    .collect();
                prop_assert_eq!(connections.stranger_count, strangers.len());
                let mut by_peer: BTreeMap<Peer, BTreeSet<Id>> = BTreeMap::new();
                for (peer, id) in strangers {
                    by_peer.entry(peer).or_default().insert(id);
                }
                let crowds: BTreeSet<_> =
                    by_peer.iter().map(|(peer, ids)| (ids.len(), Reverse(*ids.first().unwrap()), *peer)).collect();
                prop_assert_eq!(&connections.crowds, &crowds);
                prop_assert_eq!(&connections.strangers, &by_peer);
                let idle: BTreeSet<_> = connections.all.iter().filter_map(|(id, one)| match one.standing {
                    Standing::Idle { since } => Some((since, *id)),
                    _ => None,
                }).collect();
                prop_assert_eq!(&connections.idle, &idle);
            }
        }
    }
}
