// Command mutants checks the tests: it puts one deliberate fault after the other
// into the code, runs the tests that must notice, and fails if they do not.
//
//	go run ./internal/mutants [-run regexp] [-list] [-v]
//
// A fault is a named, documented edit of the source. It is applied with the
// overlay of the go command, so that the tree never changes. The text that an
// edit replaces must be in its file exactly once: where the code has changed so
// that it is not, that is an error, and the fault is to be written anew.
//
// Only a test that fails counts. A fault with which the code does not compile is
// an error, too, as is a test that fails without any fault. Random tests run
// with a fixed seed, so that the table is the same every time.
package main
