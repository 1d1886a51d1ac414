//! Both directions together, toward peers that accept a few bytes at a time or nothing.

use tokio::io::AsyncWrite;

use super::super::super::frame::control;
use super::*;

/// A peer that accepts the listed numbers of bytes in turn, one per call; 0: not now.
#[derive(Debug)]
struct Reluctant {
    takes: Vec<usize>,
    calls: usize,
    taken: Vec<u8>,
    /// How many of them had been taken at the last flush.
    flushed: usize,
    is_shut: bool,
}

impl Reluctant {
    fn new(takes: &[usize]) -> Self {
        Self {
            takes: takes.to_vec(),
            calls: 0,
            taken: Vec::new(),
            flushed: 0,
            is_shut: false,
        }
    }

    fn takes(&mut self) -> Poll<usize> {
        assert!(!self.is_shut, "nothing follows the end");
        let count = self.takes[self.calls % self.takes.len()];
        self.calls += 1;
        if count == 0 {
            Poll::Pending
        } else {
            Poll::Ready(count)
        }
    }
}

impl AsyncWrite for Reluctant {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.takes().map(|most| {
            let count = most.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.takes().map(|_| {
            self.flushed = self.taken.len();
            Ok(())
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.takes().map(|_| {
            (self.flushed, self.is_shut) = (self.taken.len(), true);
            Ok(())
        })
    }
}

impl Outlet for Reluctant {
    fn taken(&self) -> Option<u32> {
        u32::try_from(self.flushed).ok()
    }
}

/// A side and its peer.
#[derive(Debug)]
struct Side {
    leg: Leg,
    sends: Script,
    takes: Reluctant,
}

impl Side {
    fn new(stream: &Stream, takes: &[usize]) -> Self {
        Self {
            leg: Leg::new(stream.sender, stream.extensions, Moment::now()),
            sends: Script::default(),
            takes: Reluctant::new(takes),
        }
    }
}

fn carry(from: &mut Side, to: &mut Side) {
    let cx = &mut Context::from_waker(Waker::noop());
    let writer = (&mut to.leg, &mut to.takes);
    pump(cx, (&mut from.leg, &mut from.sends), writer, None);
}

fn end_if_finished(side: &mut Side, other: &Side) {
    if side.leg.is_open() && side.leg.is_finished(&other.leg, false) {
        side.leg.outgoing = Outgoing::Ending;
    }
}

/// Moves what can be moved, by the rules of a tunnel without timers.
fn turn(client: &mut Side, upstream: &mut Side) {
    carry(client, upstream);
    carry(upstream, client);
    say_close(&mut upstream.leg, &mut client.leg);
    say_close(&mut client.leg, &mut upstream.leg);
    end_if_finished(client, upstream);
    end_if_finished(upstream, client);
}

fn takes() -> impl Strategy<Value = Vec<usize>> {
    let one = prop_oneof![2 => Just(0), 3 => 1_usize..20, 1 => Just(20_000)];
    vec(one, 0..12).prop_map(|mut takes| {
        // Otherwise nothing might ever move.
        takes.push(5000);
        takes
    })
}

/// Rounds: how many pieces come from each side, and what else is requested.
fn rounds() -> impl Strategy<Value = Vec<(usize, usize, u8)>> {
    vec((0_usize..4, 0_usize..4, 0_u8..12), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Both peers get everything that was sent to them, with a Ping between two frames or a Close after one.
    #[test]
    fn every_byte_arrives(
        streams in (stream(), stream()),
        cuts in (cuts(), cuts()),
        takes in (takes(), takes()),
        comes_early: bool,
        rounds in rounds(),
        key: [u8; 4],
        tag: [u8; TAG],
    ) {
        let (mut sent, mut received) = streams;
        (sent.sender, received.sender) = (Sender::Client, Sender::Server);
        for frame in &mut sent.frames {
            frame.key.get_or_insert(key);
        }
        for frame in &mut received.frames {
            frame.key = None;
        }
        // The answer must not be in the stream: it would rightly be swallowed.
        prop_assume!(!sent.frames.iter().any(|frame| frame.opcode() == PONG && frame.payload == tag));

        let mut client = Side::new(&sent, &takes.0);
        let mut upstream = Side::new(&received, &takes.1);
        let (sent_bytes, received_bytes) = (sent.bytes(), received.bytes());
        let mut from_client = cut(&sent_bytes, &cuts.0).into_iter();
        let mut from_upstream = cut(&received_bytes, &cuts.1).into_iter();
        if comes_early {
            let early = |pieces: &mut dyn Iterator<Item = &[u8]>| {
                pieces.next().unwrap_or_default().to_vec()
            };
            let (near, far) = (&mut client.leg, &mut upstream.leg);
            begin(near, early(&mut from_client), far, None);
            begin(far, early(&mut from_upstream), near, None);
        }
        let mut pinged = None;
        for (left, right, wish) in rounds {
            let owned = |piece: &[u8]| Ok(piece.to_vec());
            client.sends.0.extend(from_client.by_ref().take(left).map(owned));
            upstream.sends.0.extend(from_upstream.by_ref().take(right).map(owned));
            let (near, far) = (&mut client.leg, &mut upstream.leg);
            match wish {
                // The tunnel's conditions for a Ping.
                0..3 if pinged.is_none()
                    && far.is_whole()
                    && near.is_open()
                    && near.told.is_none()
                    && near.waiting() == 0 =>
                {
                    near.ping(tag);
                    pinged = Some(client.takes.taken.len());
                }
                3 if near.can_be_told(far) => near.wants = Some((CODE, REASON)),
                4 if far.can_be_told(near) => far.wants = Some((CODE, REASON)),
                _ => {}
            }
            turn(&mut client, &mut upstream);
        }
        for (side, rest) in [(&mut client, from_client), (&mut upstream, from_upstream)] {
            side.sends.0.extend(rest.map(|piece| Ok(piece.to_vec())));
            side.sends.0.push_back(Ok(Vec::new()));
        }
        let mut turns = 0;
        while client.leg.ended().is_none() || upstream.leg.ended().is_none() {
            turn(&mut client, &mut upstream);
            turns += 1;
            prop_assert!(turns < 500_000, "{client:?} {upstream:?}");
        }

        let ping = control(PING, &tag, None);
        for (side, came, stream) in
            [(&client, &received_bytes, &received), (&upstream, &sent_bytes, &sent)]
        {
            let Side { leg, takes, .. } = side;
            let mut taken = takes.taken.clone();
            if let (Some(at), Sender::Client) = (pinged, leg.frames.sender()) {
                prop_assert_eq!(taken.drain(at..at + ping.len()).collect::<Vec<_>>(), &ping[..]);
            }
            let written = usize::try_from(leg.written).unwrap();
            prop_assert_eq!(&taken[..written], &came[..written]);
            let told = leg.told.as_ref();
            if told.is_some_and(|told| told.is_ours) {
                prop_assert!(boundaries(stream).contains(&written));
                let close = own_close(&taken[written..], leg.frames.sender());
                prop_assert_eq!(close, expected_close());
            } else {
                prop_assert_eq!(&taken, came);
            }
            prop_assert_eq!(told.is_some(), told.is_some_and(|told| told.delivered.is_some()));
            prop_assert_eq!((takes.flushed, takes.is_shut), (takes.taken.len(), true));
            prop_assert_eq!(leg.waiting(), 0);
            prop_assert!(leg.write_error.is_none());
        }
    }
}
