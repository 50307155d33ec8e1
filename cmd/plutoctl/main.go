// Command plutoctl is the administrator's tool.
//
//	plutoctl -config FILE status    asks every node of the file whether it serves
//	plutoctl hash                   makes a password hash of standard input's first line
//	plutoctl help                   lists all commands
//
// What it asks of nodes it asks with a certificate that pluto-pki has made for it
// (internal-plutoctl-cert.pem): package admin says what that may be.
//
// It exits with 1 when a command fails; status fails when a node does not serve.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

var version = "development" // set by the linker

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "plutoctl:", err)
			os.Exit(1)
		}
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	e := &environment{stdin: stdin, stdout: stdout, stderr: stderr}
	set := flag.NewFlagSet("plutoctl", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&e.file, "config", "config.toml", "configuration `file` of the region")
	set.StringVar(&e.certLoc, "cert", "", "plutoctl's certificate `file` (default beside RootCertLoc)")
	set.StringVar(&e.keyLoc, "key", "", "plutoctl's key `file` (default beside RootCertLoc)")
	set.Usage = func() {
		usage(stderr)
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.Arg(0) == "help" {
		set.SetOutput(stdout)
		usage(stdout)
		set.PrintDefaults()
		return nil
	}
	c, rest, err := find(set.Args())
	if err != nil {
		set.Usage()
		return err
	}
	return c.run(ctx, e, rest)
}

var versionCommand = command{
	name: "version", about: "prints plutoctl's version",
	run: func(_ context.Context, e *environment, _ []string) error {
		_, err := fmt.Fprintln(e.stdout, "plutoctl", version)
		return err
	},
}
