package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-pluto/pluto/auth"
)

var hashCommand = command{
	name: "hash", about: "makes a password hash of standard input's first line", run: hash,
}

// hash prints the hash of a password in the form that users.txt and the table
// users take.
func hash(_ context.Context, e *environment, _ []string) error {
	line, err := bufio.NewReader(e.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return errors.New("no password on standard input")
	}
	h, err := auth.NewHash(password)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, h)
	return err
}
