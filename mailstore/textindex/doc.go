// Package textindex keeps, for each content of the messages of an account, which
// sequences of three bytes (grams) its texts contain, so that a search for a string
// need read only those messages that may contain it.
//
// It knows nothing of mail: it is given texts as searches compare them (folded, in
// pieces) and strings of the same form. A string cannot be in a text that lacks one of
// its grams; whether it is in one that has them all, the caller finds out by reading it.
// Headers and texts of bodies are apart, because searches ask for one or both.
//
// # Promises
//
//   - No content is ever passed over that contains the string: a content is in the index
//     completely or not at all, and what is not in it may contain anything.
//   - What it holds can be made again from the contents: it is not synced, not logged
//     and not replicated. A database that is lost, damaged or of another version is
//     thrown away and begins empty. A damage is reported, never an answer.
//   - Memory is bounded: an account that nobody searches costs nothing, a search a few
//     KiB for each 4,096 contents that it asks about, the making of an index some ten MiB.
//
// # What lies where
//
// Contents are gathered in blocks of up to [maxContents], an account's own. Within a block a
// content is a small number, and for each gram there is the list of contents that have
// it, as a Golomb-Rice code of the gaps: between one bit (grams that half of all have)
// and some 12 bits (rare ones) for each content and gram. For messages of 5 KiB, two
// fifths of that headers, that is about a quarter of their bytes, and up to half as much again
// until the database has dropped what was merged. Lists lie, ordered by gram, in chunks of some
// KiB that are found by the last gram in them: a string of n grams costs n such reads a block.
//
// New contents come in small blocks, which are merged when there are several of a size,
// as in an LSM tree: each content is written anew a few times in its life. A
// content that is gone is noted in its block, and left out when the block is merged, or
// written anew because an eighth of it is gone.
//
// keys.go says what lies under which key, list.go is the code of a list, chunk.go
// that of a chunk; block.go writes blocks and merges them, collect.go gets grams out of
// texts, filter.go answers, db.go is the database and its life.
package textindex
