// Package admin is what an administrator may ask of a node that keeps mail: the
// gRPC services behind cmd/plutoctl. A worker or storage node offers them on its
// mail address, beside the sessions of distributors, to holders of a
// certificate with the role plutoctl (pluto://plutoctl/admin, which pluto-pki
// makes) and to nobody else. A distributor listens for mail clients alone: it is
// asked over HTTP (package telemetry).
//
// The package has the services' definitions, one .proto file for each subject,
// and the way to reach them ([Dial]). What a node answers is in package mailnode, in the
// files admin*.go; what plutoctl prints, in cmd/plutoctl, a file for each command.
//
// # Promises
//
// A service that is not in the list of admin.go is allowed to nobody, and one
// that is in it, to plutoctl alone ([Allow]).
//
// A command that takes long is a stream that tells how far it is, goes on where
// it was when it is given again, and leaves the node in order when the
// administrator goes away in the middle.
//
// Answers never contain passwords, keys or what is in messages.
//
// # A new command
//
//  1. Write admin/SUBJECT.proto with a service of its own (or add a method to the
//     one that is there), run make proto, and enter a new service in services (admin.go).
//  2. Implement it in mailnode/adminSUBJECT.go as a type with the *Node, and
//     register it in Node.registerAdmin (mailnode/admin.go).
//  3. Write cmd/plutoctl/COMMAND.go with a command (see command.go there), and
//     enter it in commands.
//  4. Enter it in the table of commands in the README.
//
// A method finds the replica that it is about by its user or subnet, and returns
// gRPC statuses: NotFound for what is not kept on this node, FailedPrecondition
// for what cannot be done now, with a text that says what to do.
package admin
