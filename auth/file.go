package auth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/internal/stamp"
)

// maxUserFile limits what is read as a user file: some two million users.
const maxUserFile = 256 << 20

// maxFileErrors limits how many bad lines an error names.
const maxFileErrors = 20

// File authenticates against a text file with one user a line:
//
//	login;password-or-hash
//	login;password-or-hash;id
//	login;password-or-hash;id;quota
//
// The ID is the line's number, counted from 1, or the third field if that is not
// empty. The quota is "10GiB", "10GiB/50000" (messages) or "/50000". Blank lines
// and lines that begin with # are ignored but counted. Logins and IDs occur
// once. Logins are compared as they are, upper and lower case being different.
//
// When the file changes it is read again at the next authentication. If it then
// has errors, or is gone, that is logged and the users of before stay.
type File struct {
	users     atomic.Pointer[userTable]
	separator byte
	logger    log.Logger
	verifier  *verifier

	mu        sync.Mutex // held while looking at the file
	file      *stamp.File
	complaint string // what was logged last, so that it is once
}

type userTable struct {
	byLogin map[string]fileUser
	weak    int    // how many have an unsalted hash
	plain   int    // how many have a password in plain
	common  string // the stored password of which there are most of its kind
}

type fileUser struct {
	id     uint32
	stored string // parses: that was tried
	quota  Quota
}

// OpenFile reads the file at path. separator stands between the fields of a
// line and occurs in none of them.
func OpenFile(path string, separator byte, logger log.Logger) (*File, error) {
	f := &File{
		separator: separator,
		logger:    log.With(logger, "users", path),
		verifier:  newVerifier(),
		file:      stamp.New(path, maxUserFile),
	}
	if _, err := f.reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Authenticate implements [Authenticator].
func (f *File) Authenticate(ctx context.Context, login, password string) (uint32, string, error) {
	f.refresh()
	if !plausible(login, password) {
		return 0, "", ErrCredentials
	}
	user, known := f.users.Load().byLogin[login]
	var hash *Hash
	if known {
		h, err := ParseHash(user.stored)
		if err != nil { // it was parsed before
			return 0, "", unavailable("stored password of user "+strconv.Itoa(int(user.id)), err)
		}
		hash = &h
	}
	if err := f.verifier.verify(ctx, hash, password); err != nil {
		return 0, "", err
	}
	return user.id, login, nil
}

// refresh takes up a changed file, unless another caller is at it.
func (f *File) refresh() {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	changed, err := f.reload()
	switch {
	case err == nil:
		f.complaint = ""
	case err.Error() != f.complaint:
		f.complaint = err.Error()
		level.Error(f.logger).Log("msg", "changed user file cannot be used, keeping the users of before", "err", err)
	}
	if changed {
		level.Info(f.logger).Log("msg", "user file changed", "count", len(f.users.Load().byLogin))
	}
}

// reload reads the file if it changed, and reports whether it took it up.
func (f *File) reload() (bool, error) {
	content, changed, err := f.file.Changed()
	if err != nil {
		return false, fmt.Errorf("read user file: %w", err)
	}
	if !changed {
		return false, nil
	}
	table, err := parseUsers(string(content), f.separator)
	if err != nil {
		return false, fmt.Errorf("user file %s: %w", f.file.Path(), err)
	}
	f.users.Store(table)
	if h, err := ParseHash(table.common); err == nil {
		f.verifier.imitate(h)
	}
	if table.weak > 0 {
		level.Warn(f.logger).Log("msg", "unsalted {SHA512} passwords are easily guessed; replace them by {ARGON2ID}", "count", table.weak)
	}
	if table.plain > 0 {
		level.Warn(f.logger).Log("msg", "passwords in plain are for development only; replace them by {ARGON2ID}", "count", table.plain)
	}
	return true, nil
}

// parseUsers reads a user file. The error names bad lines, without passwords.
func parseUsers(content string, separator byte) (*userTable, error) {
	t := &userTable{byLogin: map[string]fileUser{}}
	lineOf := map[uint32]int{} // ID to line
	loginLine := map[string]int{}
	kinds := map[Format]int{}
	common := Format("")
	var errs []error
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(content, "\ufeff")) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		login, user, format, err := parseUser(line, separator, number)
		switch {
		case err != nil:
		case loginLine[login] != 0:
			err = fmt.Errorf("login %q is in line %d too; remove one", login, loginLine[login])
		case lineOf[user.id] != 0:
			err = fmt.Errorf("user ID %d is that of line %d too; give one of them another ID", user.id, lineOf[user.id])
		}
		if err != nil {
			if errs = append(errs, fmt.Errorf("line %d: %w", number, err)); len(errs) == maxFileErrors {
				errs = append(errs, errors.New("more lines were not looked at"))
				break
			}
			continue
		}
		t.byLogin[login], loginLine[login], lineOf[user.id] = user, number, number
		if kinds[format]++; kinds[format] >= kinds[common] {
			common, t.common = format, user.stored
		}
	}
	t.weak, t.plain = kinds[FormatSHA512], kinds[FormatPlain]
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// parseUser reads one line.
func parseUser(line string, separator byte, number int) (login string, u fileUser, f Format, err error) {
	fields := strings.Split(line, string(separator))
	if len(fields) < 2 || len(fields) > 4 {
		return "", u, "", fmt.Errorf("%d fields; write login%cpassword, or login%[2]cpassword%[2]cID, or login%[2]cpassword%[2]cID%[2]cquota (a password that contains %[2]c needs to be a hash)", len(fields), separator)
	}
	login = fields[0]
	if !validLogin(login) || login != strings.TrimSpace(login) {
		return "", u, "", fmt.Errorf("the login is not 1 to %d characters of UTF-8 without control characters and outer spaces", maxLogin)
	}
	h, err := ParseHash(fields[1])
	if err != nil {
		return "", u, "", fmt.Errorf("password of %q: %w", login, err)
	}
	u = fileUser{id: uint32(number), stored: fields[1], quota: saysNothing}
	if len(fields) == 4 {
		if u.quota, err = parseQuota(fields[3]); err != nil {
			return "", u, "", fmt.Errorf("quota of %q: %w", login, err)
		}
	}
	if len(fields) == 3 || len(fields) == 4 && strings.TrimSpace(fields[2]) != "" {
		id, err := strconv.ParseUint(strings.TrimSpace(fields[2]), 10, 32)
		if err != nil || id == 0 {
			// The field is not shown: it may be the end of a password.
			return "", u, "", fmt.Errorf("the third field of %q is not a user ID from 1 to %d (a password that contains %c needs to be a hash)", login, uint32(math.MaxUint32), separator)
		}
		u.id = uint32(id)
	}
	return login, u, h.format, nil
}
