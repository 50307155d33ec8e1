//go:build !nocheckpoints

package imap

// keepsCheckpoints says that sessions survive their replica.
const keepsCheckpoints = true
