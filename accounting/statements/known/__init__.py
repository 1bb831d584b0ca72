"""What is known of jobs by their ids: in words, as prices look at it, and as a closed month keeps it."""
