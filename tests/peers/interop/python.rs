use super::clients;
use crate::tools::programs::Kind;

#[test]
fn messages_and_closes_pass_to_every_server() {
    clients::messages(Kind::Python);
}

#[test]
fn a_refusal_says_why() {
    clients::refusals(Kind::Python);
}

#[test]
fn a_cut_is_told_from_a_close() {
    clients::cuts(Kind::Python);
}
