//! Cuts an input into pieces. In a folder, because each file next to it is a target.

/// Pieces of two lengths in turn, each from 1 to 256 bytes.
pub fn in_turn(mut bytes: &[u8], first: u8, second: u8) -> impl Iterator<Item = &[u8]> {
    let lengths = [first, second].map(|length| usize::from(length) + 1);
    lengths.into_iter().cycle().map_while(move |length| {
        let (piece, others) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        bytes = others;
        (!piece.is_empty()).then_some(piece)
    })
}
