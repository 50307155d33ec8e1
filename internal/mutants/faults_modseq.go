package main

// modseqFaults are about clients that roam between replicas: sections 4.2 to 4.4.
var modseqFaults = []fault{
	{
		name: "foreign-as-own",
		what: "a MODSEQ of another replica is compared as if it had been given here (C14)",
		edits: []edit{
			{"crdt/token.go", "\tif t.Slot() == k.slot {\n\t\tif t < k.birth || t > last {", "\tif t != 0 {\n\t\tif t < k.birth {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestFloorRandom|TestRoaming",
	},
	{
		name: "nothing-ever-hidden",
		what: "translation forgets that delivered messages may have been hidden for a while (C4: HidMax)",
		edits: []edit{
			{"crdt/token.go", "p.list.At(t.add(-k.hidden))", "p.list.At(t)"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestFloorRandom|TestFloorExhaustive|TestRoaming",
	},
	{
		name: "hidden-without-end",
		what: "messages may be hidden for longer than translation believes when a MODSEQ is given (I11)",
		edits: []edit{
			{"crdt/resync.go", "if m.Exp == 0 && now >= m.Arrived.add(s.Self.policy().Hidden) {", "if m.Exp == 0 && m.Arrived > now {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestRoaming",
	},
	{
		name: "no-multi-uid-report",
		what: "a client from another replica is not told about the other UIDs of messages (C6)",
		edits: []edit{
			{"crdt/resync.go", "others = !f.Own && m.Several()", "others = false"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestFloorRandom|TestRoaming",
	},
	{
		name: "modseq-goes-down",
		what: "a client that roams is given a HIGHESTMODSEQ below the one that it has (I4)",
		edits: []edit{
			{"crdt/resync.go", "if err != nil || high >= have && high.Slot() == s.Self.Slot {", "if err != nil || high > 0 {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestFloorRandom|TestRoaming",
	},
	{
		name: "checkpoint-too-new",
		what: "own changes that the other replica did not have count as known (4.2)",
		edits: []edit{
			{"crdt/checkpoint.go", "return !c.list[i].Vector.LessEqual(v) }))", "return i > 0 && !c.list[i-1].Vector.LessEqual(v) }))"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestFloorRandom|TestFloorExhaustive|TestRoaming",
	},
	{
		name: "pruned-unnoticed",
		what: "a client is told the list although it missed vanished UIDs that were forgotten (4.4)",
		edits: []edit{
			{"crdt/resync.go", "return f.Time == 0 || f.Time < b.VanFloor", "return f.Time == 0"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestRoaming",
	},
	{
		name: "pruned-elsewhere-unnoticed",
		what: "a client that was at the source of a snapshot is not told what had vanished and was forgotten there (4.4)",
		edits: []edit{
			{"crdt/load.go", "if in.VanFloor != 0 {", "if false {"},
		},
		pkg: crdtPkg, tests: "TestScripts",
	},
	{
		name: "pruned-is-doubtful",
		what: "a client that missed forgotten UIDs is told all flags, as if a member had been lost (4.4)",
		edits: []edit{
			{"crdt/resync.go", "if f.Time < b.Doubt {", "if f.Time < max(b.Doubt, b.VanFloor) {"},
		},
		pkg: crdtPkg, tests: "TestScripts",
	},
	{
		name: "lost-is-pruned",
		what: "after an eviction clients are told which UIDs are none, but not the flags, as if the list had been pruned (6.4)",
		edits: []edit{
			{"crdt/epoch.go", "b.Doubt = max(b.Doubt, w.Mod)", "b.VanFloor = max(b.VanFloor, w.Mod)"},
		},
		pkg: crdtPkg, tests: "TestEvictionLeavesNothingCertain",
	},
	{
		name: "doubt-without-end",
		what: "a client is told everything again at each resynchronisation after its account has moved, until something changes (6.4)",
		edits: []edit{
			{"crdt/epoch.go", "b.Doubt = max(b.Doubt, w.Mod)\n\tw.raise(b)", "b.Doubt, b.dirty = max(b.Doubt, w.Mod), true"},
		},
		pkg: crdtPkg, tests: "TestArrivalLeavesNothingCertain|TestEvictionLeavesNothingCertain",
	},
	{
		name: "arrival-is-pruned",
		what: "who comes from the subnet where the account was is told which UIDs are none, but not the flags",
		edits: []edit{
			{"crdt/home.go", "w.doubt(b)", "b.VanFloor = max(b.VanFloor, w.Mod)\n\t\tw.raise(b)"},
		},
		pkg: crdtPkg, tests: "TestArrivalLeavesNothingCertain",
	},
	{
		name: "lost-and-unchanged",
		what: "STORE with UNCHANGEDSINCE of before an eviction is believed (6.4)",
		edits: []edit{
			{"mailstore/mailboxchange.go", "since := t.floor(box, change.UnchangedSince)", "_ = box\n\t\tsince := t.a.r.floor(change.UnchangedSince)"},
		},
		pkg: mailstorePkg, tests: "TestUnchangedSinceBeforeEviction",
	},
	{
		name: "old-record-undoubted",
		what: "the floor in a record of version 1, which was both, is taken for one of what was pruned",
		edits: []edit{
			{"crdt/codec_record.go", "if b.Doubt = b.VanFloor; doubt {", "if doubt {"},
		},
		pkg: crdtPkg, tests: "TestMailboxFloors",
	},
	{
		name: "old-incarnation-trusted",
		what: "a MODSEQ of before a lost disk counts as one of the new incarnation (6.4)",
		edits: []edit{
			{"crdt/token.go", "if t < k.birth || t > last {", "if t > last {"},
		},
		pkg: crdtPkg, tests: "TestFloorOfNobody|TestNewIncarnation",
	},
	{
		name: "lost-is-certain",
		what: "who was here, then at a member that is lost, is believed the MODSEQ of before (6.4)",
		edits: []edit{
			{"crdt/epoch.go", "return w.doubtAll()", "return nil"},
		},
		pkg: crdtPkg, tests: "TestEvictionLeavesNothingCertain",
	},
	{
		name: "successor-believes",
		what: "an incarnation takes MODSEQs of the lost one, whose slot it has, for its own (6.4)",
		edits: []edit{
			{"crdt/token.go", "k.birth = max(k.birth, t.add(MaxAhead))", "k.birth = max(k.birth, t)"},
		},
		pkg: crdtPkg, tests: "TestReborn",
	},
	{
		name: "lost-clock-forgotten",
		what: "what was heard of the clock of an evicted member is not passed on to its successor (6.4)",
		edits: []edit{
			{"mailstore/evicted.go", "r.seq.clock.Observe(min(last, maxAhead(r.now())))", "_ = last"},
		},
		pkg: mailstorePkg, tests: "TestEvictedClock",
	},
	{
		name: "waits-for-clock",
		what: "what waits for a moment of a clock that was set back waits until it is there again",
		edits: []edit{
			{"mailstore/ticker.go", "back := max(t.last-now, 0)", "back := int64(0)"},
		},
		pkg: mailstorePkg, tests: "TestTickerClockSetBack",
	},
}
