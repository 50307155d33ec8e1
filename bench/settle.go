package bench

import (
	"context"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
)

// snapshot is what one side shows of both mailboxes.
type snapshot [2][]viewRow

// settle waits until both sides show the same twice in a row, and audits that.
// When they do not within the time, the differences are violations.
func (c *convergence) settle(ctx context.Context) error {
	start := time.Now()
	reading, stop := context.WithTimeout(ctx, 2*c.o.Settle)
	defer stop()
	var shots [2]snapshot
	var differences []string
	for equal := 0; equal < 2; {
		var err error
		if shots, err = c.shoot(reading); err != nil {
			return fmt.Errorf("read both sides: %w", err)
		}
		if differences = c.compare(shots); len(differences) > 0 {
			equal = 0
		} else if equal++; equal == 1 {
			c.ledger.settled(time.Since(start))
		}
		if time.Since(start) > c.o.Settle {
			break
		}
		rest(reading, 300*time.Millisecond)
	}
	for _, d := range differences {
		c.ledger.violate("after %s: %s", c.o.Settle, d)
	}
	for box, name := range c.boxes {
		c.ledger.audit(box, name, shots[0][box])
	}
	return c.compareBytes(reading)
}

// shoot reads both sides on fresh sessions.
func (c *convergence) shoot(ctx context.Context) (shots [2]snapshot, err error) {
	for side := range 2 {
		err = c.retry(ctx, func() error {
			shots[side], err = c.read(ctx, side)
			return err
		})
		if err != nil {
			return shots, err
		}
	}
	return shots, nil
}

// retry does f again while it fails, if disconnects are tolerated.
func (c *convergence) retry(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || !c.o.TolerateDisconnects || ctx.Err() != nil {
			return err
		}
		rest(ctx, retryEvery)
	}
}

func (c *convergence) read(ctx context.Context, side int) (s snapshot, err error) {
	var v *view
	defer func() { v.close() }()
	for box := range 2 {
		if v == nil {
			v, err = c.open(ctx, side, box)
		} else {
			err = c.selectBox(v, box)
		}
		if err != nil {
			return s, err
		}
		s[box] = append([]viewRow(nil), v.rows...)
	}
	return s, nil
}

// compare lists where the two sides differ.
func (c *convergence) compare(shots [2]snapshot) (differences []string) {
	for box, name := range c.boxes {
		a, b := byUID(shots[0][box]), byUID(shots[1][box])
		for uid, x := range a {
			y, ok := b[uid]
			switch {
			case !ok:
				differences = append(differences, fmt.Sprintf("%s: UID %d (%s) is at A and not at B", name, uid, x.id))
			case x != y:
				differences = append(differences, fmt.Sprintf("%s: UID %d is %s (%s) at A and %s (%s) at B", name, uid, x.id, x.flags, y.id, y.flags))
			}
		}
		for uid, y := range b {
			if _, ok := a[uid]; !ok {
				differences = append(differences, fmt.Sprintf("%s: UID %d (%s) is at B and not at A", name, uid, y.id))
			}
		}
	}
	return differences
}

func byUID(rows []viewRow) map[uint32]viewRow {
	m := make(map[uint32]viewRow, len(rows))
	for _, r := range rows {
		m[r.uid] = r
	}
	return m
}

// compareBytes reads every message at both sides.
func (c *convergence) compareBytes(ctx context.Context) error {
	var sums [2]map[uidKey]uint32
	for side := range sums {
		err := c.retry(ctx, func() (err error) {
			sums[side], err = c.checksums(ctx, side)
			return err
		})
		if err != nil {
			return fmt.Errorf("read messages at %s: %w", sideName(side), err)
		}
	}
	for k, a := range sums[0] {
		if b, ok := sums[1][k]; ok && a != b {
			c.ledger.violate("%s: UID %d has other bytes at A than at B", c.boxes[k.box], k.uid)
		}
	}
	return nil
}

func (c *convergence) checksums(ctx context.Context, side int) (map[uidKey]uint32, error) {
	sums := map[uidKey]uint32{}
	for box := range c.boxes {
		v, err := c.open(ctx, side, box)
		if err != nil {
			return nil, err
		}
		err = c.readBodies(v, func(uid uint32, m []byte) {
			sums[uidKey{box: box, uid: uid}] = crc32.ChecksumIEEE(m)
			if err := checkMessage(m); err != nil {
				v.violate("UID %d: %v", uid, err)
			}
		})
		v.close()
		if err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// readBodies calls f for every message of a view's mailbox.
func (c *convergence) readBodies(v *view, f func(uid uint32, m []byte)) error {
	want, got := len(v.rows), 0
	if want == 0 {
		return nil
	}
	_, err := v.conn.Do("FETCH 1:* (UID BODY.PEEK[])", func(r *imapc.Response) {
		if r.Name != "FETCH" {
			return
		}
		uid, _ := imapc.FetchItem(r.Rest, "UID")
		body, ok := imapc.FetchItem(r.Rest, "BODY[]")
		n, _ := uid.Uint()
		if ok && body.Kind == imapc.String {
			got++
			f(uint32(n), body.Str)
		}
	})
	if err == nil && got < want {
		v.violate("%d of %d messages have a body", got, want)
	}
	return err
}
