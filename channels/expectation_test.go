package channels

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// table is an expectations table that remembers what expired.
type table struct {
	*expectations
	expired []string
}

func newTable() *table {
	t := &table{}
	t.expectations = newExpectations(func(e *expectation, reason string) {
		t.expired = append(t.expired, e.control+": "+reason)
	})
	return t
}

func (t *table) announce(control, address string) *expectation {
	e := &expectation{control: control, host: "ftp.corp", address: netip.MustParseAddrPort(address)}
	t.install(e, time.Minute)
	return e
}

func TestExpectationMeets(t *testing.T) {
	e := &expectation{host: "ftp.corp", address: netip.MustParseAddrPort("10.4.0.9:50000")}
	for _, tt := range []struct {
		host string
		port uint16
		want bool
	}{
		{"10.4.0.9", 50000, true},
		{"::ffff:10.4.0.9", 50000, true},
		{"ftp.corp", 50000, true},
		{"FTP.Corp", 50000, true},
		{"ftp.corp.", 50000, false},
		{"ftp.corp", 50001, false},
		{"10.4.0.9", 21, false},
		{"10.4.0.10", 50000, false},
		{"0x0a.4.0.9", 50000, false},
		{"", 50000, false},
	} {
		if got := e.meets(tt.host, tt.port); got != tt.want {
			t.Errorf("%s:%d meets %s: %v, want %v", tt.host, tt.port, e.address, got, tt.want)
		}
	}
}

func TestExpectationIsTakenOnce(t *testing.T) {
	tab := newTable()
	e := tab.announce("1", "10.4.0.9:50000")
	if got := tab.take("ftp.corp", 50000); got != e {
		t.Fatalf("first take: %v, want the expectation", got)
	}
	if got := tab.take("ftp.corp", 50000); got != nil {
		t.Errorf("second take: %v, want nothing", got)
	}
	if got, want := tab.nearest("ftp.corp", 50000), "10.4.0.9:50000 was announced: used already"; got != want {
		t.Errorf("nearest: %q, want %q", got, want)
	}
	tab.close()
	if tab.expired != nil {
		t.Errorf("expired: %q, want nothing: it was used", tab.expired)
	}
}

func TestOfSeveralExpectationsTheNewestIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		for _, server := range []string{"10.4.0.9", "10.4.0.10", "10.4.0.11"} { // ftp.corp has three addresses
			tab.announce(server, server+":50000")
			time.Sleep(time.Second)
		}
		for _, want := range []string{"10.4.0.11", "10.4.0.10", "10.4.0.9"} {
			if got := tab.take("ftp.corp", 50000); got == nil || got.control != want {
				t.Errorf("got %v, want that of %s", got, want)
			}
		}
		tab.close()
	})
}

func TestExpectationIsReplacedByANewerOne(t *testing.T) {
	tab := newTable()
	tab.announce("1", "10.4.0.9:50000")
	second := tab.announce("1", "10.4.0.9:50001")
	other := tab.announce("2", "10.4.0.9:50002")
	if got := tab.take("10.4.0.9", 50000); got != nil {
		t.Errorf("the older one is still there: %v", got)
	}
	if got := tab.take("10.4.0.9", 50001); got != second {
		t.Errorf("the newer one: %v", got)
	}
	if got := tab.take("10.4.0.9", 50002); got != other {
		t.Errorf("the other control channel's: %v", got)
	}
	if want := []string{"1: a newer announcement"}; !slices.Equal(tab.expired, want) {
		t.Errorf("expired: %q, want %q", tab.expired, want)
	}
}

func TestExpectationExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		tab.announce("1", "10.4.0.9:50000")
		time.Sleep(time.Minute - time.Nanosecond)
		if got := tab.nearest("ftp.corp", 21); got != "announced is 10.4.0.9:50000" {
			t.Errorf("before its minute: %q", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := tab.take("ftp.corp", 50000); got != nil {
			t.Errorf("after its minute: %v, want nothing", got)
		}
		if want := []string{"1: nobody came in 1m0s"}; !slices.Equal(tab.expired, want) {
			t.Errorf("expired: %q, want %q", tab.expired, want)
		}
	})
}

func TestExpectationIsGivenBackOnceAfterAFailedDial(t *testing.T) {
	tab := newTable()
	e := tab.announce("1", "10.4.0.9:50000")
	tab.take("ftp.corp", 50000)
	tab.giveBack(e)
	if got := tab.take("ftp.corp", 50000); got != e {
		t.Fatalf("after the first failure: %v, want the expectation", got)
	}
	tab.giveBack(e)
	if got := tab.take("ftp.corp", 50000); got != nil {
		t.Errorf("after the second failure: %v, want nothing", got)
	}
}

func TestExpectationIsGivenBackForTheRestOfItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		e := tab.announce("1", "10.4.0.9:50000")
		time.Sleep(50 * time.Second)
		tab.take("ftp.corp", 50000)
		tab.giveBack(e)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := tab.take("ftp.corp", 50000); got != nil {
			t.Errorf("a minute after the announcement: %v, want nothing", got)
		}
		if want := []string{"1: nobody came in 1m0s"}; !slices.Equal(tab.expired, want) {
			t.Errorf("expired: %q, want %q", tab.expired, want)
		}
	})
}

func TestExpectationIsNotGivenBackWhenItsControlChannelHasMovedOn(t *testing.T) {
	for name, moveOn := range map[string]func(tab *table){
		"cancelled":          func(tab *table) { tab.withdraw("1", "the transfer failed") },
		"another announced":  func(tab *table) { tab.announce("1", "10.4.0.9:50001") },
		"the same announced": func(tab *table) { tab.announce("1", "10.4.0.9:50000"); tab.take("ftp.corp", 50000) },
		"ended":              func(tab *table) { tab.forget("1") },
	} {
		tab := newTable()
		e := tab.announce("1", "10.4.0.9:50000")
		tab.take("ftp.corp", 50000)
		moveOn(tab)
		tab.giveBack(e)
		if got := tab.take("ftp.corp", 50000); got == e {
			t.Errorf("%s: the old expectation is live again", name)
		}
		tab.close()
	}
}
