// Package e2e tests whole systems: real processes, real TLS on loopback, real
// mail clients. The processes are those of package cluster; the tests here know
// flags, configuration keys and ports, and nothing of pluto's inside.
//
// What needs a program that is not installed (curl, mbsync, neomutt, offlineimap, Thunderbird, tmux,
// Python, imapflow) skips and says so; go test -short skips everything. The programs under
// test are built once, or taken from $PLUTO_BIN; $PLUTO_RACE builds them with the
// race detector. $PLUTO_E2E_DURATION lengthens the tests under load, and
// $PLUTO_SOAK_KILLS lets TestSoakKills run (make soak-kills).
//
// # What broke the prototype of 2017
//
// Each has a test that does the same here:
//
//	what happened                         what came of it               test
//	+Seen in one region, +Seen -Seen      diverged for ever             TestPrototype/flag_set_against_flag_set_and_removed;
//	in the other                                                        crdt: TestScripts/flags
//	DELETE against STORE                  took down every node,         TestPrototype/DELETE_against_STORE;
//	                                      which did not start again     crdt: TestScripts/c15_delete_create
//	one appender in each region on        deadlock in 3 s               TestPrototype/one_appender_in_each_region, TestTwoWriters
//	the same mailbox
//	a batch sent again, or reordered      endless loop                  TestPrototype/batches_that_are_sent_again;
//	                                                                    comm/causal: TestScripts (order.txt)
//	one dead peer                         replication to all stopped    TestPrototype/a_dead_peer, TestKill
//	restart with a backlog                panic                         TestPrototype/restart_with_a_backlog
//	a client announces a literal and      the node's writes froze       TestHostile/after_login/literal_announced_and_not_sent
//	stops
//	failover with a live session          storage crashed               TestPrototype/failover_with_a_live_session
//	CREATE ../user2/evil                  wrote into another's mail     TestHostile/mailbox_names
//	LOGIN user1'-- x                      SQL injection                 TestHostile/before_login/SQL_in_the_user's_name;
//	                                                                    auth: TestPostgres
//	{4294967295}                          memory                        TestHostile/before_login and /after_login,
//	                                                                    literal_of_4_GiB
//
// # What AckPeers promises
//
// acks_test.go proves it by taking disks away right after an OK: TestAckPeers0,
// TestAckPeers0LostDisk, TestAckPeers1, TestAckPeers2, TestAckStrict.
package e2e
