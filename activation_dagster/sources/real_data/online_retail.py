"""UCI online retail (dataset 352): every invoice line of a UK gift retailer as one track event.

Besides, an identify when a customer is first seen or shows another country. Guests have only their invoice's number.
"""

from __future__ import annotations

NAME = "online_retail"
FILES = ("online_retail/transactions.parquet",)

# Session variables: `folder` holds FILES. `by_content` asks for message ids from what a row says, so that the 5,268
# surplus exact duplicates repeat one; otherwise they come from where it stands, so that no two rows share one.
RELATION = """
with lines as (
    select
        *,
        -- This copy stores 17850.0 where the source has 17850.
        CustomerID::double::bigint::varchar as customer,
        timezone('UTC', timezone('Europe/London', InvoiceDate::timestamp)) as happened_at
    from read_parquet(getvariable('folder') || '/online_retail/transactions.parquet')
),
named as (
    select
        *,
        case
            when InvoiceNo like 'C%' then 'Product Cancelled'
            when InvoiceNo like 'A%' then 'Bad Debt Adjusted'
            when Quantity::bigint < 0 then 'Inventory Adjusted'
            else 'Product Purchased'
        end as event_name,
        if(customer is null, 'guest-' || InvoiceNo, null) as guest,
        lag(Country) over (partition by customer order by InvoiceDate, row_no) as country_before
    from lines
),
bought as (
    select
        'online_retail' as source,
        coalesce(customer, guest) as person,
        row_no * 2 + 1 as seq,
        happened_at,
        null::timestamp as received_at,
        head('track', event_name,
            message_id('uci-online-retail', 'track', event_name, if(getvariable('by_content'),
                concat_ws('|', InvoiceNo, StockCode, coalesce(Description, 'None'), Quantity, InvoiceDate, UnitPrice,
                    coalesce(CustomerID, 'None'), Country),
                row_no::varchar)),
            customer, guest) as head,
        tail('properties',
            concat_ws(',',
                said('order_id', text_value(InvoiceNo)),
                said('product_id', text_value(StockCode)),
                said('name', text_value(Description)),
                said('quantity', Quantity::bigint::varchar),
                said('price', number_value(UnitPrice)),
                said('currency', '"GBP"')),
            said('location', '{"country":' || text_value(Country) || '}'),
            'uci-online-retail', row_no::varchar,
            if(customer is null, ['timestamp:zone', 'anonymousId'], ['timestamp:zone'])) as tail
    from named
),
identified as (
    select
        'online_retail' as source,
        customer as person,
        row_no * 2 as seq,
        happened_at,
        null::timestamp as received_at,
        head('identify', '',
            message_id('uci-online-retail', 'identify', '', customer || '|' || Country || '|' || instant(happened_at)),
            customer, null) as head,
        tail('traits', said('country', text_value(Country)), null, 'uci-online-retail', row_no::varchar,
            ['timestamp:zone']) as tail
    from named
    where customer is not null and country_before is distinct from Country
)
select * from bought
union all
select * from identified
"""
