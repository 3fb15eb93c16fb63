"""Which features inside a continuous chain of thought cause the answer, and how sure are we?"""
