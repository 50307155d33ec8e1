package config

import "time"

// Defaults of keys that may be left out. Keys that are not here and not marked
// as optional in config.toml.example have to be given.
const (
	DefaultRootCertLoc = "private/root-cert.pem" // relative to the file, as all paths

	DefaultGreeting           = "Pluto ready."
	DefaultHierarchySeparator = "."
	DefaultMaxMessageSize     = 64 * MiB
	DefaultQuotaStorage       = Size(0) // no limit
	DefaultQuotaMessages      = 0       // no limit
	DefaultTextIndex          = true

	DefaultLogMaxSize   = 1 * GiB
	DefaultLogMaxAge    = 30 * 24 * time.Hour
	DefaultSnapshotRate = 64 * MiB
	DefaultEvictAfter   = 14 * 24 * time.Hour
	DefaultAheadTimeout = time.Minute // shorter than mail clients wait for an answer

	DefaultPublicCertLoc = "private/public-distributor-cert.pem"
	DefaultPublicKeyLoc  = "private/public-distributor-key.pem"

	DefaultAuthAdapter        = AuthFile
	DefaultAuthSeparator      = ";"
	DefaultPostgresPort       = 5432
	DefaultPostgresUseTLS     = true
	DefaultPostgresConns      = 16
	DefaultPostgresTimeout    = 5 * time.Second
	DefaultMaxConnections     = 100000
	DefaultMaxConnsPerUser    = 50
	DefaultMaxAuthFailures    = 3
	DefaultLoginTimeout       = time.Minute
	DefaultLoginWait          = 2 * time.Second
	DefaultResumeWait         = 2 * time.Second
	DefaultMoveTimeout        = 15 * time.Second
	DefaultHomeDelay          = 3 * time.Second
	DefaultIdleTimeout        = 30 * time.Minute // RFC 9051 section 5.4: not below this
	DefaultAckPeers           = 1
	DefaultAckTimeout         = 500 * time.Millisecond
	DefaultAckStrict          = false
	defaultInternalCertFormat = "private/internal-%s-cert.pem" // %s: the node's Name
	defaultInternalKeyFormat  = "private/internal-%s-key.pem"
	defaultDataRootFormat     = "data/%s"
)

// Limits of values, so that a slip of the pen does not become an outage.
const (
	minMessageSize = 64 * KiB
	maxMessageSize = 1 * GiB

	maxQuotaStorage  = 1 << 20 * GiB
	maxQuotaMessages = 1 << 40

	maxNameLen     = 64
	maxGreetingLen = 200
	minLogSize     = 64 * KiB
	maxLogSize     = 1 << 50
	minLogAge      = time.Minute
	maxLogAge      = 10 * 365 * 24 * time.Hour
	minRate        = 64 * KiB
	minEvictAfter  = 10 * time.Second
	// maxAheadTimeout: clients give up a command that takes longer.
	maxAheadTimeout = 10 * time.Minute
	// MaxSlot is the largest slot of a replica in its subnet; the smallest is 1.
	MaxSlot = 15
)
