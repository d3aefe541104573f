package activity

import (
	"fmt"
	"strconv"
	"time"
)

// amount writes bytes in three digits, or four: "512 B", "1.40 GB".
func amount(bytes int64) string {
	if bytes < 1000 {
		return strconv.FormatInt(max(0, bytes), 10) + " B"
	}
	value, unit := float64(bytes), ""
	for _, unit = range []string{"kB", "MB", "GB", "TB", "PB", "EB"} {
		if value /= 1000; value < 999.5 {
			break
		}
	}
	switch {
	case value < 9.995:
		return fmt.Sprintf("%.2f %s", value, unit)
	case value < 99.95:
		return fmt.Sprintf("%.1f %s", value, unit)
	}
	return fmt.Sprintf("%.0f %s", value, unit)
}

func rate(bytes int64) string { return amount(bytes) + "/s" }

// clock writes a duration as a clock shows it: "0:27", "3:02:11"; days are told as such.
func clock(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 3600:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%dd %dh", s/(24*3600), s/3600%24)
}

// count writes a number of things.
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}
