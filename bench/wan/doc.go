// Package wan stands between nodes on one machine as a wide-area network would:
// it delays what they send each other, limits how much goes through in a second,
// breaks connections, and cuts nodes off from each other, in one direction or in
// both. It works in user space, needs no privileges, and knows nothing of what it
// carries.
//
// A [Link] is a TCP proxy from one node to another; its two directions have
// [Conditions] of their own that can be changed at any time. A [Network] is all
// the links between some nodes, by their names.
//
// # What is like the real thing, and what is not
//
// Bytes arrive in order, after the delay, at no more than the rate; what waits for
// its turn is bounded as in a router ([Conditions].Queue), and behind that the
// sender's own buffers fill. All connections of a link share its rate. A cut keeps
// what is sent and delivers it when it ends, as TCP does by sending again; a new
// connection hangs meanwhile. Single packets are not lost: what TCP makes of that,
// a pause and a lower rate, is to be had by changing the conditions.
//
// The kernel's buffers on the way to the proxy and from it are kept small, but
// they are there: some 100 KiB more than Queue may be under way.
package wan
