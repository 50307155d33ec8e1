// Package config reads pluto's configuration: one TOML file per region that
// every node of the region reads.
//
// [Load] turns a file into a [Config] that is complete (defaults filled in,
// relative paths resolved against the file) and consistent (ranges do not
// overlap, members of a subnet know each other, slots differ), or into an
// [Error] that lists every problem found, not only the first, each with the
// key, its value and what to do about it. It reads nothing but the file itself,
// so that certificates can be made for a configuration whose certificates do
// not exist yet; [Config.Check] then looks at the files that a role needs.
//
// A file describes one region. What has to agree between the files of several
// regions is compared by [CheckTogether] where the files are at hand, and by
// the nodes when they connect to each other.
//
// Besides its values a Config answers the questions that roles ask: which
// worker keeps a user ([Config.WorkerOf]), in which order a user's replicas
// are to be tried ([Config.Replicas]), who the members of a subnet are
// ([Node.Subnets]).
//
// A Config is not changed after Load and may be read concurrently. Values of
// secret keys never appear in errors. The package never panics on any input,
// starts no goroutine and keeps no state.
package config
