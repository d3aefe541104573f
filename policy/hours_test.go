package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMatchTime(t *testing.T) {
	// 1 June 2026 is a Monday.
	const monday, friday, saturday, sunday = 1, 5, 6, 7
	for _, test := range []struct {
		value  string
		day    int
		clock  string
		inside bool
	}{
		{"Mon-Fri,08:00-19:00", monday, "08:00", true},
		{"Mon-Fri,08:00-19:00", monday, "07:59", false},
		{"Mon-Fri,08:00-19:00", friday, "18:59", true},
		{"Mon-Fri,08:00-19:00", friday, "19:00", false}, // the end isn't in it
		{"Mon-Fri,08:00-19:00", saturday, "12:00", false},
		{"08:00-19:00", sunday, "12:00", true}, // every day
		{"Mon-Fri", friday, "23:59", true},     // all day long
		{"Mon-Fri", saturday, "00:00", false},
		{"mon,WED,Friday", friday, "12:00", true},
		{"Sat-Mon", sunday, "12:00", true}, // over the end of the week
		{"Sat-Mon", friday, "12:00", false},
		{"Mon-Sun", sunday, "12:00", true},
		{"08:00-12:00,13:00-19:00", monday, "12:30", false},
		{"08:00-12:00,13:00-19:00", monday, "13:00", true},
		{"22:00-06:00", monday, "23:00", true},
		{"22:00-06:00", monday, "05:59", true},
		{"22:00-06:00", monday, "06:00", false},
		{"22:00-06:00", monday, "21:59", false},
		{"Fri,22:00-06:00", friday, "22:00", true},
		{"Fri,22:00-06:00", friday, "05:00", false},  // that night began on Thursday
		{"Fri,22:00-06:00", saturday, "05:00", true}, // and this one on Friday
		{"Fri,22:00-06:00", saturday, "22:00", false},
		{"Sat,22:00-06:00", sunday, "05:00", true},
		{"Sun,22:00-06:00", monday, "05:00", true},
		{"18:00-24:00", monday, "23:59", true},
		{"18:00-24:00", monday, "00:00", false},
		{"00:00-24:00", monday, "00:00", true},
	} {
		c, err := MatchTime(test.value)
		if err != nil {
			t.Errorf("%s: %v", test.value, err)
			continue
		}
		clock, err := time.Parse("15:04", test.clock)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, time.June, test.day, clock.Hour(), clock.Minute(), 59, 0, time.UTC)
		if got := (Criteria{c}).Match(Subject{}, now); got != test.inside {
			t.Errorf("%s at %s: got %v, want %v", test.value, now.Format("Mon 15:04"), got, test.inside)
		}
	}
}

func TestMatchTimeGoesByTheZoneOfNow(t *testing.T) {
	c, err := MatchTime("Mon,00:00-01:00")
	if err != nil {
		t.Fatal(err)
	}
	utc := time.Date(2026, time.June, 7, 22, 30, 0, 0, time.UTC) // a Sunday
	if (Criteria{c}).Match(Subject{}, utc) || !(Criteria{c}).Match(Subject{}, utc.In(time.FixedZone("CEST", 7200))) {
		t.Error("the hour must be that of the zone")
	}
	if (Criteria{c}).Match(Subject{}, time.Time{}) {
		t.Error("matches although the time is not known")
	}
}

func TestMatchTimeErrors(t *testing.T) {
	for value, want := range map[string]string{
		"":                    `"" has an empty element`,
		"Mon,":                `"Mon," has an empty element`,
		"Fryday":              `"Fryday" is neither days, as Mon or Mon-Fri, nor times, as 08:00-19:00`,
		"Mon-":                `"Mon-" is neither days, as Mon or Mon-Fri, nor times, as 08:00-19:00`,
		"!Mon":                `"!Mon" is neither days, as Mon or Mon-Fri, nor times, as 08:00-19:00`,
		"8:00-19:00":          `"8:00-19:00" is not a range of times: write it as 08:00-19:00`,
		"08:00":               `"08:00" is not a range of times: write it as 08:00-19:00`,
		"08:60-09:00":         `"08:60-09:00" is not a range of times: write it as 08:00-19:00`,
		"08:00-24:01":         `"08:00-24:01" is not a range of times: write it as 08:00-19:00`,
		"24:00-08:00":         `"24:00-08:00" is not a range of times: write it as 08:00-19:00`,
		"08:00-08:00":         `"08:00-08:00" contains no time: the whole day is 00:00-24:00`,
		"08:00-09:00,Mon":     `"Mon" stands after a time: other days with other times want a Match of their own`,
		"Mon,08:00-09:00,Tue": `"Tue" stands after a time: other days with other times want a Match of their own`,
	} {
		if _, err := MatchTime(value); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", value, err, want)
		}
	}
}

// FuzzMatchTime holds that what is read is written in a form that reads back to the same, and that at some minute
// of the week it is that time.
func FuzzMatchTime(f *testing.F) {
	for _, value := range []string{"Mon-Fri,08:00-19:00", "08:00-19:00", "Sat", "fri-MON,22:00-06:00,12:00-13:00", "23:59-24:00"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h, err := parseHours(value)
		if err != nil {
			return
		}
		again, err := parseHours(h.String())
		if err != nil || !cmp.Equal(h, again, cmp.AllowUnexported(hours{}, dayRange{}, minuteRange{})) {
			t.Fatalf("%q is written as %q, which reads back to %+v, %v", value, h, again, err)
		}
		for minute := range 7 * minutesOfDay {
			if h.contain(time.Date(2026, time.June, 1, 0, minute, 0, 0, time.UTC)) {
				return
			}
		}
		t.Errorf("%q contains no minute of the week", h)
	})
}
