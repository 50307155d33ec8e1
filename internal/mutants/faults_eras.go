package main

// eraFaults are about the eras of UIDs and their UIDVALIDITY: section 6.5.
var eraFaults = []fault{
	{
		name: "validity-without-era",
		what: "two eras of a mailbox have one UIDVALIDITY (6.5)",
		edits: []edit{
			{"crdt/validity.go", " + Validity(b.Era())", ""},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "era-raises-c",
		what: "the growing part of UIDVALIDITY instead of the era tells two eras apart: TOUCH raises it, too (6.5)",
		edits: []edit{
			{"crdt/validity.go", " + Validity(b.Era())", ""},
			{"crdt/renumber.go", "\tw.raise(b)\n", "\tw.raise(b)\n\tb.C = max(b.C, 1+era)\n"},
		},
		pkg: crdtPkg, tests: "TestExhaustive|TestConvergence",
	},
	{
		name: "old-era-shown",
		what: "messages that a renumbering did not know stay visible under UIDs of the era before (6.5)",
		edits: []edit{
			{"crdt/renumber.go", "\treturn w.leaveBehind(b, listed)\n", "\treturn nil\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "old-era-arrives",
		what: "the horizon of the era before stays: messages that arrive late are shown under UIDs of it (6.5)",
		edits: []edit{
			{"crdt/renumber.go", "\tb.H = max(b.H, first)\n", ""},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "old-era-vanished",
		what: "UIDs that vanished in the era before are reported in the next (6.5)",
		edits: []edit{
			{"crdt/renumber.go", "if err := w.State.ForgetVanished(b.ID, first); err != nil {", "if err := w.State.ForgetVanished(b.ID, 0); err != nil {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive|TestConvergence",
	},
	{
		name: "old-uids-kept",
		what: "a message keeps its UIDs of eras that are over, as far as the order of arrival lets it (6.5)",
		edits: []edit{
			{"crdt/work.go", "\tm.prune(b.Era())\n", ""},
		},
		pkg: crdtPkg, tests: "TestConcurrentOperationsCommute|TestExhaustive|TestConvergence",
	},
	{
		name: "renumber-once-only",
		what: "of two concurrent renumberings the second to arrive is ignored (6.5)",
		edits: []edit{
			{"crdt/renumber.go", "\tlisted := make(map[Tag]bool, len(p.List))\n", "\tif !begins {\n\t\treturn nil\n\t}\n\tlisted := make(map[Tag]bool, len(p.List))\n"},
		},
		pkg: crdtPkg, tests: "TestConcurrentOperationsCommute|TestExhaustive",
	},
	{
		name: "selection-survives-era",
		what: "who has the mailbox selected sees the UIDs of the next era as if they were of this one (6.5)",
		edits: []edit{
			{"mailstore/publish.go", "h.gone, h.last = true, b.shown", "h.gone = true"},
		},
		pkg: mailstorePkg, tests: "TestMailboxOutlivesItsUIDs",
	},
	{
		name: "evidence-ignored",
		what: "who asks for n:* says nothing about UIDNEXT elsewhere (4.3, C5)",
		edits: []edit{
			{"crdt/evidence.go", "from <= b.H+1 {", "from > 0 {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestEvidence",
	},
	{
		name: "evidence-unbounded",
		what: "who names a UID uses up all below it (4.3)",
		edits: []edit{
			{"crdt/evidence.go", "skip := min(told-known, b.Evidence.allowed(s.Now))", "skip := told - known"},
		},
		pkg: crdtPkg, tests: "TestEvidenceBounds",
	},
	{
		name: "evidence-in-memory",
		what: "UIDs that a client knew from elsewhere are forgotten in a crash (4.3)",
		edits: []edit{
			{"mailstore/commit.go", " && !t.heard() {", " {"},
		},
		pkg: mailstorePkg, tests: "TestEvidenceIsDurable",
	},
	{
		name: "held-left-behind",
		what: "what is shown does not take along what is held below it (2.4)",
		edits: []edit{
			{"crdt/hold.go", "if b.Held == 0 || b.showing {", "if b.Held == 0 || b.Held > 0 {"},
		},
		pkg: crdtPkg, tests: "TestHoldTakesAlong|TestHoldRefusesNothing",
	},
	{
		name: "epoch-of-known-only",
		what: "mailboxes that were made at the same time do not skip UIDs (6.4)",
		edits: []edit{
			{"crdt/mailbox_effect.go", "\tw.hear(b, b.floor(epoch))\n", ""},
		},
		pkg: crdtPkg, tests: "TestConcurrentOperationsCommute|TestConvergence",
	},
	{
		name: "epoch-not-in-era",
		what: "an era that begins in an epoch begins at its first UID, as it may have at the evicted member (6.4)",
		edits: []edit{
			{"crdt/renumber.go", "\tw.hear(b, b.floor(a.Epoch))\n", "\tw.hear(b, b.floor(0*a.Epoch))\n"},
		},
		pkg: crdtPkg, tests: "TestConcurrentOperationsCommute|TestConvergence",
	},
	{
		name: "arrived-by-the-last-clock",
		what: "a message counts as hidden since the last change at an idle replica (C18)",
		edits: []edit{
			{"crdt/work.go", "max(w.Before, TimeAt(w.Now, w.Self.Slot))", "w.Before"},
		},
		pkg: crdtPkg, tests: "TestScripts",
	},
}
