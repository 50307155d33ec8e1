// Package crypto says who a node is and makes sure that only such nodes talk
// to each other.
//
// A node's identity is its certificate: role and name are in it as a URI,
// pluto://worker/eu-worker-1, and the internal CA has signed it. [LoadNode]
// reads it and refuses to start as somebody else. Inside, both ends of every
// connection authenticate with TLS 1.3: [Node.ServerTLS] demands a certificate
// of the internal CA, [Node.ClientTLS] demands to reach exactly the node it
// means. Host names and addresses play no part in that, so that a node can move
// and a stolen name in the DNS is worth nothing. What a peer may do is decided
// by its role for each RPC: [Policy] for whole services, [Require] within a
// handler. What no policy names is denied.
//
// Towards clients, [PublicTLS] serves the operator's certificate and takes up a
// new one without a restart. A broken new one is logged and the old one stays.
//
// [NewCA], [CA.Issue] and [SelfSigned] make what the above needs; package pki
// below this one makes all of it for a configuration.
//
// Nothing here logs or returns a private key, accepts TLS below 1.2, or starts
// a goroutine.
package crypto
