// Package measure finds out what convergence costs: how often messages get new
// UIDs when several replicas write to one mailbox, what clients download again
// for that, how fast the UIDs grow, and how long it takes until all agree.
//
// [Run] is one run of a group of replicas of package crdt on a network in
// virtual time. The replicas are the real ones ([crdt.Site] over
// [crdt.Memory]); what the mailstore and the replication add is repeated here
// in its timing and in nothing else: operations and what they bring about are
// one transaction, refused UIDs are looked at after ten milliseconds
// (mailstore's ticker), an operation waits at its receiver until what it
// depends on is there. The disk and the applying take no time.
//
// A run depends on its [Config] alone: the same one gives the same [Result], on
// any machine. At its end the replicas are compared: a run whose replicas
// disagree, or that leaves a message waiting, is an error and no figure.
package measure
