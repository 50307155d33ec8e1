// Package e2e tests whole systems: real processes, real TLS on loopback, real
// mail clients. The processes are those of package cluster; the tests here know
// flags, configuration keys and ports, and nothing of pluto's inside.
//
// What needs a program that is not installed (curl, mbsync, neomutt, tmux,
// Python) skips and says so; go test -short skips everything. The programs under
// test are built once, or taken from $PLUTO_BIN; $PLUTO_RACE builds them with the
// race detector. $PLUTO_E2E_DURATION lengthens the tests under load.
package e2e
