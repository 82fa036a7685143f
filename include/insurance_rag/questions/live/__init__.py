"""Imports questions and feedback from production, without personal data, and sorts them into work for the project."""
