"""Results as JSON members, and as tables, trees and lines."""
