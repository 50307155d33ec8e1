//go:build nocheckpoints

package imap

// keepsCheckpoints: a program that is built so is there to measure what checkpoints
// cost. Its sessions end with their replica.
const keepsCheckpoints = false
