// Package mailnode is what workers and storage nodes have in common: a node
// that keeps mail. It holds a replica of one or more subnets on one disk,
// replicates each with its peers, and runs the sessions that distributors open.
//
// A [Node] is put together from the parts that do the work: mailstore (the
// disk), comm (replication), imap (the protocol engine), imap/tunnel (sessions
// over gRPC), admin (what plutoctl asks for), telemetry (metrics, readiness).
// What is its own is the order in which they start and stop, who may call what,
// the adapter that gives the engine its view of a replica (type account), and
// the answers to plutoctl (admin*.go).
//
// # Promises
//
// A node starts with no other node up. It says that it is ready when it can
// serve all its users: its disk is open, its listeners are up and, for a
// brand-new replica, a peer has confirmed its slot.
//
// Stopping takes no acknowledged change with it: sessions end with BYE at a
// command boundary and the disk is closed last. What peers lack is in the log.
//
// The index of texts (indexer.go) is the node's own: made in the background of what the
// replicas have, used by SEARCH, and made again when it is lost. A node can do without.
//
// Nothing that a distributor, a peer or a client sends ends the process.
package mailnode
