package config

import (
	"fmt"
	"time"
)

// Config is one region's configuration.
type Config struct {
	// Path is the file that it was read from.
	Path string
	// RootCertLoc is the certificate of the internal CA, which all nodes of
	// all regions share.
	RootCertLoc string
	IMAP        IMAP
	Replication Replication
	// Distributor is nil if the file has none.
	Distributor *Distributor
	// Workers are in the order of the file.
	Workers []*Worker
	// Storage is nil if the file has none.
	Storage *Storage
}

// IMAP is what clients see, the same on every node.
type IMAP struct {
	Greeting           string
	HierarchySeparator byte // '.' or '/'
	MaxMessageSize     Size // advertised as APPENDLIMIT (RFC 7889)

	// What the mail of a user may take in all (RFC 9208) unless the directory
	// says otherwise of him; 0: no limit.
	QuotaStorage  Size
	QuotaMessages int64

	// TextIndex says whether nodes keep an index for SEARCH of texts; without one they
	// read the messages.
	TextIndex bool

	// What is not told to clients that call themselves so (RFC 2971).
	HideCapabilities []HiddenFrom
}

// Replication is how nodes that keep mail deal with members of their subnets that
// are away.
type Replication struct {
	LogMaxSize   Size          // of the log of a subnet on a node; who lacks what went takes a snapshot
	LogMaxAge    time.Duration // how long it reaches back at most
	SnapshotRate Size          // bytes a second that a node gives to those who take snapshots; 0: no bound
	EvictAfter   time.Duration // without a peer, after which a node takes no writes; 0: never
	AheadTimeout time.Duration // how long a large message waits for its content to get to peers; 0: none goes ahead
}

// HiddenFrom names capabilities that clients whose name contains Client are not
// told of.
type HiddenFrom struct {
	Client       string
	Capabilities []string
}

// Authentication adapters.
const (
	AuthFile     = "AuthFile"
	AuthPostgres = "AuthPostgres"
)

// Distributor is the region's edge node.
type Distributor struct {
	Name               string
	PublicMailAddr     string
	ListenMailAddr     string // implicit TLS
	ListenStartTLSAddr string // empty: no such listener
	ListenLMTPAddr     string // host:port or unix:/path; empty: no such listener
	PrometheusAddr     string // empty: no metrics over HTTP
	PublicCertLoc      string
	PublicKeyLoc       string
	InternalCertLoc    string
	InternalKeyLoc     string
	AuthAdapter        string // AuthFile or AuthPostgres
	AuthFile           *FileAuth
	AuthPostgres       *PostgresAuth
	Limits             Limits
}

// FileAuth is the user file of the adapter [AuthFile].
type FileAuth struct {
	File      string
	Separator byte
}

// PostgresAuth is the database of the adapter [AuthPostgres].
type PostgresAuth struct {
	IP           string // address, host name, or directory of a Unix socket
	Port         uint16
	Database     string
	User         string
	Password     string
	PasswordFile string // instead of Password; its first line
	UseTLS       bool   // always with full verification of the server
	RootCertLoc  string // who signed the server's certificate; empty: the system's list

	MaxConnections int           // connections to the database, at most
	Timeout        time.Duration // for one look-up, connecting included
}

// Limits protect a distributor.
type Limits struct {
	MaxConnections        int
	MaxConnectionsPerUser int
	MaxAuthFailures       int           // failures until a connection is closed
	LoginTimeout          time.Duration // from connecting to being logged in
	LoginWait             time.Duration // for a node to come up, when none can serve a login
	IdleTimeout           time.Duration // RFC 9051 section 5.4
	ResumeWait            time.Duration // for a node to get what a session has seen that moves there
	MoveTimeout           time.Duration // until a session that no node takes over ends
	HomeDelay             time.Duration // that a worker is well again before its sessions go back to it
}

// Role is what a process does.
type Role string

// The roles, named as in certificates.
const (
	RoleDistributor Role = "distributor"
	RoleWorker      Role = "worker"
	RoleStorage     Role = "storage"
)

// Node is what workers and storage have in common: they keep replicas and run
// sessions on them.
type Node struct {
	Role           Role
	Name           string // identity in certificates and towards peers
	PublicMailAddr string // where distributors open sessions
	ListenMailAddr string
	PrometheusAddr string // empty: no metrics over HTTP
	CertLoc        string
	KeyLoc         string
	DataRoot       string
	AckPeers       int           // peers that must have a change on disk before its OK; replication caps it at their number
	AckTimeout     time.Duration // the longest wait for them
	AckStrict      bool          // NO rather than an OK on fewer disks
	// Subnets are the replicas that the node keeps, in the order of the file.
	// A worker has exactly one.
	Subnets []Subnet
}

// Worker is a node that is responsible for a range of users in its region.
type Worker struct {
	Node
	// Key is the name of the section, as in [Workers.worker-1].
	Key string
	// Failover are the other members that may take over this worker's sessions
	// (workers of other regions, storage that is in another region's file), with
	// the addresses where they open sessions, in the order of the file.
	Failover []Peer
}

// Subnet returns the worker's only subnet.
func (w *Worker) Subnet() *Subnet { return &w.Subnets[0] }

// Users returns the range that the worker is responsible for.
func (w *Worker) Users() UserRange { return w.Subnets[0].Users }

// Storage is the backup node; it keeps a replica of each of its subnets.
type Storage struct {
	Node
}

// Subnet is one replica's view of its replication group: itself and its peers.
type Subnet struct {
	Name           string
	Users          UserRange
	Slot           uint8  // the node's own, 1..MaxSlot
	PublicSyncAddr string // the node's own: where peers replicate to
	ListenSyncAddr string
	Peers          []Peer // in the order of the file
	// Leader is the member that re-issues UIDs in doubt (crdt.md 2.1); empty:
	// the lowest slot.
	Leader string
}

// Peer is another member of a subnet.
type Peer struct {
	Name string
	Addr string
	// Slot is 0 where this file does not say it; peers tell each other when
	// they connect.
	Slot uint8
}

// UserRange is a range of user IDs, both ends included.
type UserRange struct {
	Start, End uint32
}

// Contains reports whether the range has the user.
func (r UserRange) Contains(id uint32) bool { return r.Start <= id && id <= r.End }

// Overlaps reports whether some user is in both ranges.
func (r UserRange) Overlaps(s UserRange) bool { return r.Start <= s.End && s.Start <= r.End }

// IsZero reports whether the range was not given.
func (r UserRange) IsZero() bool { return r == UserRange{} }

// String returns the range as in "1-1000".
func (r UserRange) String() string { return fmt.Sprintf("%d-%d", r.Start, r.End) }
