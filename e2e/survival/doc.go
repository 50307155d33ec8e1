// Package survival loses the nodes under the sessions of mail clients, again and
// again, and checks that nobody notices: the command pluto-bench failover.
//
// A run has a system of its own on this machine (package cluster). Its clients are
// connected to one distributor, or to the two of each region where distributors are
// restarted too. Half of them do the workload of the 2017 evaluation and store a numbered
// message now and then; the other half are in IDLE on the mailboxes of those. Meanwhile
// nodes are killed, stopped, cut off or restarted. In the end what was acknowledged is
// compared with what is there.
package survival
