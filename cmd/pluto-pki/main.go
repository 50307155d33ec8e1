// Command pluto-pki makes the certificates of a pluto system: one internal CA,
// one certificate for each node of the given configurations, one for plutoctl
// and, with -public, a self-signed one for mail clients to test with.
//
//	pluto-pki -config eu.toml -config us.toml -dir private -public localhost,127.0.0.1
//
// It may be run again when a node is added: what is there is kept.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crypto/pki"
)

// version is set when the binary is linked.
var version = "unknown"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// paths collects the values of a flag that may be given several times.
type paths []string

func (p *paths) String() string { return strings.Join(*p, ",") }

func (p *paths) Set(s string) error {
	if s == "" {
		return errors.New("empty path")
	}
	*p = append(*p, s)
	return nil
}

// run returns the exit code: 0 all is there, 1 something could not be made, 2
// wrong flags.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("pluto-pki", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var files paths
	flags.Var(&files, "config", "configuration `file`; may be given several times (default config.toml)")
	dir := flags.String("dir", "private", "`directory` of the CA and plutoctl's certificate")
	public := flags.String("public", "", "make self-signed public certificates for these `hosts`, as in mail.example.org,127.0.0.1")
	force := flags.Bool("force", false, "make certificates anew that are there, except the CA")
	newCA := flags.Bool("new-ca", false, "make the CA anew, and so all certificates")
	showVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if *showVersion {
		fmt.Fprintln(stdout, "pluto-pki", version)
		return 0
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "pluto-pki: unexpected argument %q; configurations are given with -config\n", flags.Arg(0))
		return 2
	}
	if len(files) == 0 {
		files = paths{"config.toml"}
	}
	options := pki.Options{
		Dir:    *dir,
		Public: splitHosts(*public),
		Force:  *force,
		NewCA:  *newCA,
		Report: func(line string) { fmt.Fprintln(stdout, line) },
	}
	for _, f := range files {
		c, err := config.Load(f)
		if err != nil {
			fmt.Fprintln(stderr, "pluto-pki:", err)
			return 1
		}
		options.Configs = append(options.Configs, c)
	}
	if err := pki.Generate(options); err != nil {
		fmt.Fprintln(stderr, "pluto-pki:", err)
		return 1
	}
	return 0
}

func splitHosts(s string) []string {
	var hosts []string
	for h := range strings.SplitSeq(s, ",") {
		if h = strings.TrimSpace(h); h != "" {
			hosts = append(hosts, h)
		}
	}
	return hosts
}
