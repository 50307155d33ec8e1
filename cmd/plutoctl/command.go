package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/go-kit/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crypto"
	"github.com/go-pluto/pluto/crypto/pki"
)

// command is something that plutoctl does. Package admin says how one is added.
type command struct {
	name  string // its words, as in "member evict"
	args  string // what follows, as in "NODE"
	about string // half a line, for the usage
	// run does it. Flags of its own are in args: see newFlags.
	run func(ctx context.Context, e *environment, args []string) error
}

// commands are those that there are, in the order of the usage.
var commands = []command{
	statusCommand,
	verifyCommand,
	resyncCommand,
	drainCommand,
	memberListCommand,
	memberEvictCommand,
	memberRecoverCommand,
	moveCommand,
	purgeCommand,
	hashCommand,
	versionCommand,
}

// find returns the command that arguments begin with, and its own arguments.
func find(args []string) (command, []string, error) {
	for n := len(args); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		if i := slices.IndexFunc(commands, func(c command) bool { return c.name == name }); i >= 0 {
			return commands[i], args[n:], nil
		}
	}
	if len(args) == 0 {
		return command{}, nil, errors.New("no command")
	}
	return command{}, nil, fmt.Errorf("%q is not a command", strings.Join(args, " "))
}

// usage lists the commands.
func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: plutoctl [-config FILE] COMMAND")
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, c := range commands {
		fmt.Fprintf(t, "  %s\t%s\n", strings.TrimSpace(c.name+" "+c.args), c.about)
	}
	t.Flush()
}

// environment is what commands work with. What they do not need is not read.
type environment struct {
	file            string // configuration
	certLoc, keyLoc string // plutoctl's certificate; empty: where pluto-pki puts it
	stdin           io.Reader
	stdout, stderr  io.Writer
	loaded          *config.Config
	identified      *crypto.Node
}

// newFlags returns the flags of a command, for it to add its own and parse.
func (e *environment) newFlags(c string, args string) *flag.FlagSet {
	set := flag.NewFlagSet("plutoctl "+c, flag.ContinueOnError)
	set.SetOutput(e.stderr)
	set.Usage = func() {
		fmt.Fprintln(e.stderr, "usage: plutoctl", c, args)
		set.PrintDefaults()
	}
	return set
}

// oneArg parses the one thing that a command is about, and flags before or after it; what
// names it in errors.
func (e *environment) oneArg(set *flag.FlagSet, args []string, what string) (string, error) {
	if err := set.Parse(args); err != nil {
		return "", err
	}
	arg := set.Arg(0)
	if arg == "" {
		set.Usage()
		return "", fmt.Errorf("no %s is named", what)
	}
	if err := set.Parse(set.Args()[1:]); err != nil {
		return "", err
	}
	if set.NArg() > 0 {
		set.Usage()
		return "", fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	return arg, nil
}

// remote says in an administrator's words what a node answered.
func remote(node string, err error) error {
	return fmt.Errorf("%s: %s", node, status.Convert(err).Message())
}

// config returns the configuration.
func (e *environment) config() (*config.Config, error) {
	if e.loaded == nil {
		cfg, err := config.Load(e.file)
		if err != nil {
			return nil, err
		}
		e.loaded = cfg
	}
	return e.loaded, nil
}

// identity returns what proves to nodes that they talk to plutoctl.
func (e *environment) identity() (*crypto.Node, error) {
	if e.identified != nil {
		return e.identified, nil
	}
	cfg, err := e.config()
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(cfg.RootCertLoc)
	certLoc, keyLoc := filepath.Join(dir, pki.AdminCert), filepath.Join(dir, pki.AdminKey)
	if e.certLoc != "" {
		certLoc = e.certLoc
	}
	if e.keyLoc != "" {
		keyLoc = e.keyLoc
	}
	who := crypto.Identity{Role: crypto.RoleAdmin, Name: pki.AdminName}
	e.identified, err = crypto.LoadNode(cfg.RootCertLoc, certLoc, keyLoc, who, log.NewNopLogger(), nil)
	if err != nil {
		return nil, fmt.Errorf("plutoctl's certificate, which pluto-pki makes: %w", err)
	}
	return e.identified, nil
}

// dial connects to a worker or storage node that the configuration names. The
// caller closes the connection.
func (e *environment) dial(name string) (*grpc.ClientConn, error) {
	cfg, err := e.config()
	if err != nil {
		return nil, err
	}
	who, err := e.identity()
	if err != nil {
		return nil, err
	}
	var known []string
	for _, r := range cfg.AllReplicas() {
		if r.Name == name {
			return admin.Dial(who, r.Name, r.Addr)
		}
		known = append(known, r.Name)
	}
	return nil, fmt.Errorf("%s names no node %q that keeps mail; it has %s", cfg.Path, name, strings.Join(known, ", "))
}
