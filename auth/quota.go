package auth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Quota is what a user's mail may take in all (RFC 9208). 0 stands for no limit,
// NoQuota for nothing being said.
type Quota struct {
	Storage  int64 // bytes
	Messages int64
}

// NoQuota says nothing of a limit: the one for all users counts.
const NoQuota = -1

// saysNothing is the quota of a user of whom nothing is said.
var saysNothing = Quota{NoQuota, NoQuota}

// Directory is what an [Authenticator] may implement that knows limits of its
// users.
type Directory interface {
	// Quota returns the limits of a user who was authenticated, by the login as
	// it is stored. The error wraps [ErrUnavailable].
	Quota(ctx context.Context, canonicalLogin string) (Quota, error)
}

// QuotaOf returns the limits of a user, if a knows any.
func QuotaOf(ctx context.Context, a Authenticator, canonicalLogin string) (Quota, error) {
	if d, ok := a.(Directory); ok {
		return d.Quota(ctx, canonicalLogin)
	}
	return saysNothing, nil
}

// Quota implements [Directory] if the authenticator that is measured does.
func (a measured) Quota(ctx context.Context, canonicalLogin string) (Quota, error) {
	return QuotaOf(ctx, a.Authenticator, canonicalLogin)
}

// errQuota says how a quota is written.
var errQuota = errors.New(`write a size, as in 10GiB, and perhaps a number of messages, as in 10GiB/50000; 0 stands for no limit`)

// quotaUnits are the units of sizes in a user file.
var quotaUnits = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"", 1}}

// parseQuota reads "size" or "size/messages"; each may be empty.
func parseQuota(text string) (Quota, error) {
	q := saysNothing
	size, messages, _ := strings.Cut(strings.TrimSpace(text), "/")
	for _, u := range quotaUnits {
		number, ok := strings.CutSuffix(size, u.suffix)
		if !ok || size == "" {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			return q, errQuota
		}
		q.Storage = n * u.bytes
		break
	}
	if messages == "" {
		return q, nil
	}
	n, err := strconv.ParseInt(messages, 10, 64)
	if err != nil || n < 0 {
		return q, errQuota
	}
	q.Messages = n
	return q, nil
}

// Quota implements [Directory].
func (f *File) Quota(_ context.Context, canonicalLogin string) (Quota, error) {
	if user, ok := f.users.Load().byLogin[canonicalLogin]; ok {
		return user.quota, nil
	}
	return saysNothing, nil // gone since
}

// Quota implements [Directory]. A table without the columns quota_storage and
// quota_messages says nothing, as does NULL in them: that is why they are asked
// for by way of JSON.
func (p *Postgres) Quota(ctx context.Context, canonicalLogin string) (Quota, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	q, err := p.queryQuota(ctx, canonicalLogin)
	if err != nil && lostConnection(err) && ctx.Err() == nil {
		q, err = p.queryQuota(ctx, canonicalLogin)
	}
	if err != nil {
		return saysNothing, unavailable("look up quota in the database", err)
	}
	return q, nil
}

func (p *Postgres) queryQuota(ctx context.Context, login string) (Quota, error) {
	const query = "SELECT COALESCE((row->>'quota_storage')::bigint, -1), COALESCE((row->>'quota_messages')::bigint, -1)" +
		" FROM (SELECT to_jsonb(users) - 'password' AS row FROM users WHERE username = $1 LIMIT 1) AS found"
	rows, err := p.db.QueryContext(ctx, query, login)
	if err != nil {
		return saysNothing, err
	}
	defer rows.Close()
	q := saysNothing
	if rows.Next() {
		if err := rows.Scan(&q.Storage, &q.Messages); err != nil {
			return saysNothing, err
		}
	}
	if err := rows.Err(); err != nil {
		return saysNothing, err
	}
	if q.Storage < NoQuota || q.Messages < NoQuota {
		return saysNothing, fmt.Errorf("negative quota of %q", login)
	}
	return q, nil
}
